// A search that is not at its end goes on in the page: one request at a time, until it is stopped, there is
// enough to look at, or the page is left. Texts become text and never markup.

const scan = document.getElementById('scan');

// Without a click it goes on until so many more were found or looked at.
const FOUND_AT_ONCE = 200;
const SEARCHED_AT_ONCE = 100_000;
// A page asks for no more. With the last part it has 1,000 at most, and so many end at once.
const SHOWN_MAX = 970;
// So many that cannot be read are named.
const NAMED_MAX = 10;
// How often it is said aloud how far the search is.
const TOLD_EVERY = 10_000;

const counted = n => n.toLocaleString('en');
const sessions = n => `${counted(n)} session${n === 1 ? '' : 's'}`;

function row(line) {
  const made = document.getElementById('line').content.firstElementChild.cloneNode(true);
  const box = made.querySelector('input');
  if (box) {
    box.value = line.handle;
    box.ariaLabel = `Select ${line.handle}`;
  }
  const link = (element, {name, href}) => {
    element.textContent = name;
    element.href = href;
    return element;
  };
  link(made.querySelector('.handle'), {name: line.handle, href: line.href});
  if (line.user) {
    const cell = made.querySelector('.user > span');
    cell.replaceChildren(link(document.createElement('a'), line.user));
    if (line.label) {
      const label = document.createElement('span');
      label.className = 'quiet small';
      label.textContent = ` ${line.label}`;
      cell.append(label);
    }
  }
  for (const [selector, {ago, exact}] of [['.seen span', line.last_seen], ['.began span', line.began]]) {
    const time = made.querySelector(selector);
    time.textContent = ago;
    time.title = exact;
  }
  made.querySelector('.number').textContent = line.size;
  made.querySelector('.preview code').textContent = line.preview;
  return made;
}

function begin() {
  const [said, button, bar, told] = ['.said', 'button', 'progress', '[role=status]']
    .map(selector => scan.querySelector(selector));
  const [form, none, next, unread] = ['found', 'none', 'next', 'damaged'].map(id => document.getElementById(id));
  const body = form.querySelector('tbody');
  const link = next.querySelector('a');
  const number = text => text === '' ? null : Number(text);
  const {from} = scan.dataset;
  const start = 'first' in scan.dataset ? 0 : number(from);
  let {after} = scan.dataset;
  let searched = Number(scan.dataset.searched);
  let to = number(scan.dataset.to);
  const damaged = [];
  let going = null;
  let toldAt = 0;

  const found = () => body.rows.length;
  const progress = () => {
    // The first ones tell about how many there are: two digits of it.
    const all = after && start !== null && to > start && searched >= 100
      ? Number((searched / (to - start)).toPrecision(2)) : 0;
    const about = all > searched ? ` of about ${counted(all)}` : '';
    return `Looked at ${counted(searched)}${about} sessions, found ${counted(found())}.`;
  };
  const show = (text, isNews) => {
    said.textContent = text;
    bar.hidden = to === null;
    bar.value = after ? to ?? 0 : 1;
    if (!isNews && performance.now() - toldAt < TOLD_EVERY) return;
    told.textContent = text;
    toldAt = performance.now();
  };
  const add = part => {
    body.append(...part.lines.map(row));
    searched += part.searched;
    to = part.to ?? to;
    ({after} = part);
    form.hidden = found() === 0;
    if (part.damaged.length) {
      damaged.push(...part.damaged);
      unread.dataset.first ??= unread.textContent;
      const named = damaged.slice(0, NAMED_MAX).join(', ') + (damaged.length > NAMED_MAX ? ', and more' : '');
      unread.textContent = `${unread.dataset.first} Further on, ${sessions(damaged.length)} cannot be read: ${named}.`;
    }
    if (after) {
      const address = new URL(link.href);
      address.searchParams.set('after', after);
      link.href = address;
    }
    // What counts the selected ones counts anew.
    form.dispatchEvent(new Event('change'));
  };
  // Nothing that has the focus goes away from under it.
  const hide = element => {
    if (element.contains(document.activeElement)) scan.focus({preventScroll: true});
    element.hidden = true;
  };
  const label = isGoing => {
    button.textContent = isGoing ? 'Stop' : 'Go on';
    link.textContent = isGoing ? 'Searching…' : 'Search on';
    link.ariaDisabled = isGoing;
  };
  // What is said at the end of a run.
  const rest = (text, isOver) => {
    going = null;
    label(false);
    if (isOver) hide(button);
    if (!after) hide(next);
    show(text, true);
  };
  const end = () => {
    if (!after) {
      if (none && !found()) {
        none.querySelector('p').textContent = 'No live session matches.';
        none.hidden = false;
      }
      const isAll = 'first' in scan.dataset ? 'all ' : '';
      rest(`Looked at ${isAll}${sessions(searched)}, found ${counted(found())}.`, true);
    } else if (found() >= SHOWN_MAX) {
      rest(`${progress()} This page holds no more: “Search on” leads to the next.`, true);
    } else {
      rest(`${progress()} Paused: go on, or narrow the search.`, false);
    }
  };
  const ask = async signal => {
    const address = `${scan.dataset.part}&${new URLSearchParams({after})}`;
    const answer = await fetch(address, {signal, redirect: 'manual', headers: {accept: 'application/json'}});
    if (answer.ok) return answer.json();
    throw new Error(answer.status === 503 ? 'The store does not answer.'
      : answer.status === 400 ? 'The search cannot go on from here. Search anew.'
      : 'The console does not answer, or you are signed out. Load the page again.');
  };
  const run = async () => {
    const own = going = new AbortController();
    const most = {found: Math.min(found() + FOUND_AT_ONCE, SHOWN_MAX), searched: searched + SEARCHED_AT_ONCE};
    label(true);
    show(progress(), true);
    while (after && found() < most.found && searched < most.searched) {
      try {
        const part = await ask(own.signal);
        if (own.signal.aborted) return;
        add(part);
        show(progress(), false);
      } catch (error) {
        if (own.signal.aborted) return;
        const text = error instanceof TypeError ? 'The console does not answer.' : error.message;
        return rest(`${text} ${progress()}`, false);
      }
    }
    end();
  };
  const stop = () => {
    if (!going) return;
    going.abort();
    rest(`Stopped. ${progress()}`, false);
  };

  document.getElementById('told')?.remove();
  if (none) none.hidden = true;
  scan.hidden = false;
  button.addEventListener('click', () => going ? stop() : run());
  // The link at the end goes on here, too, as long as the page shows more.
  link.addEventListener('click', event => {
    const isElsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
    if (isElsewhere || (!going && found() >= SHOWN_MAX)) return;
    event.preventDefault();
    if (!going) run();
  });
  addEventListener('pagehide', stop);
  // Nobody looks at it yet, so it costs nothing yet.
  if (!document.hidden) run();
  else document.addEventListener('visibilitychange', run, {once: true});
}

if (scan) begin();
