// Counts along with the session, and says when it has ended.

const views = document.getElementById("views");
const unit = document.getElementById("unit");
const state = document.getElementById("state");

const stream = new EventSource("/live/events");

const say = (text) => {
  if (state.textContent !== text) state.textContent = text;
};

const end = (text) => {
  stream.close();
  const login = document.createElement("a");
  login.href = state.dataset.login;
  login.textContent = "Log in again";
  state.replaceChildren(`${text} `, login);
};

stream.addEventListener("views", ({ data }) => {
  views.textContent = data;
  unit.textContent = data === "1" ? "view" : "views";
  say("Open the first page in another tab, and this one counts along.");
});

stream.addEventListener("trouble", () => say("The sessions cannot be read right now. This page tries again."));

stream.addEventListener("ended", ({ data }) => end(data));

stream.addEventListener("error", () => {
  // A stream that was refused is not asked for again.
  if (stream.readyState === EventSource.CLOSED) end("You are not logged in any more.");
  else say("The connection broke off. This page makes it again.");
});
