// What a browser with scripts has beyond the pages: a sign-in by the address alone, keys, and sessions
// that change as one looks. Texts become text and never markup.

const all = selector => [...document.querySelectorAll(selector)];
const by = id => document.getElementById(id);

function signIn() {
  const code = new URLSearchParams(location.hash.slice(1)).get('code');
  const form = by('sign-in');
  if (!code || !form) return;
  history.replaceState(null, '', location.pathname);
  by('code').value = code;
  form.requestSubmit();
}

function pick() {
  const button = document.querySelector('[data-needs-pick]');
  const every = by('pick-all');
  if (!button) return;
  const boxes = () => [...button.form.querySelectorAll('input[name=handle][type=checkbox]')];
  const show = () => {
    const all = boxes();
    const n = all.filter(box => box.checked).length;
    button.disabled = n === 0;
    button.textContent = n === 0 ? 'End selected' : `End ${n.toLocaleString('en')} selected`;
    if (every) {
      every.checked = n > 0 && n === all.length;
      every.indeterminate = n > 0 && n < all.length;
    }
  };
  if (every) every.hidden = false;
  // Lines that come later count, too.
  button.form.addEventListener('change', event => {
    if (event.target === every) for (const box of boxes()) box.checked = every.checked;
    show();
  });
  show();
}

function keys() {
  const lines = () => all('tr[data-line]');
  let path = null;
  if (location.hash === '#q') by('q')?.focus();
  const current = () => document.querySelector('tr.current');
  const go = step => {
    const list = lines();
    if (!list.length) return;
    const at = list.indexOf(current());
    const to = list[Math.max(0, Math.min(list.length - 1, at < 0 ? 0 : at + step))];
    current()?.classList.remove('current');
    to.classList.add('current');
    (to.querySelector('[data-open]') ?? to).focus?.();
    to.scrollIntoView({block: 'nearest'});
    path = to.dataset.path ?? null;
  };
  addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input:not([type=checkbox]), textarea, select, dialog[open]')) return;
    const find = by('q');
    if (event.key === '/') find ? find.focus() : location.assign(`${all('nav a')[2]?.href ?? location.pathname}#q`);
    else if (event.key === 'j') go(1);
    else if (event.key === 'k') go(-1);
    else if (event.key === 'e') (current()?.querySelector('[data-edit]') ?? document.querySelector('a[href$="/json"]'))?.click();
    else if (event.key === 'Enter' && current() && event.target === document.body) current().querySelector('[data-open]')?.click();
    else if (event.key === 's') document.querySelector('#scan button:not([hidden])')?.click();
    else if (event.key === '?') by('help').showModal();
    else return;
    event.preventDefault();
  });
  return () => path;
}

function say(text) {
  const note = by('live-note');
  if (!note) return;
  note.hidden = !text;
  if (note.textContent !== text) note.textContent = text;
}

function element(name, attributes, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function rowOf(row) {
  const line = element('tr', {'data-line': '', 'data-path': row.path});
  line.append(
    element('th', {scope: 'row', class: `depth-${Math.min(row.depth, 8)}`}, row.name),
    element('td', {class: 'kind'}),
    element('td', {class: 'value'}),
  );
  return line;
}

// What can be done with a value, which is another thing once a list has several items.
function showActs(tree, line, row) {
  if (!('edits' in tree.dataset)) return;
  const acts = [['edit', 'path', 'Edit', 'Edit']];
  if (row.is_container) acts.push(['add', 'in', 'Add', 'Add to']);
  if (row.has_order) acts.push(['order', 'path', 'Order', 'Order of']);
  const cell = line.cells[3] ?? line.appendChild(element('td', {class: 'act'}));
  if (cell.children.length === acts.length) return;
  cell.replaceChildren(...acts.flatMap(([to, name, text, label]) => [' ', element('a', {
    href: `${tree.dataset.href}/${to}?${new URLSearchParams({[name]: row.path})}`,
    'aria-label': `${label} ${row.path}`,
    ...(to === 'edit' ? {'data-open': '', 'data-edit': ''} : {}),
  }, text)]));
}

function fill(tree, line, row, isNew) {
  const [kind, value] = [line.querySelector('.kind'), line.querySelector('.value')];
  // What was revealed stays: the events never have it.
  if (row.is_hidden && 'revealed' in tree.dataset && !isNew) return;
  const isOther = kind.textContent !== row.kind || value.textContent !== row.text;
  if (!isOther && !isNew) return;
  kind.textContent = row.kind;
  value.textContent = row.text;
  value.className = `value${row.is_hidden ? ' is-hidden' : ''}${row.is_container ? ' quiet' : ''}`;
  line.classList.remove('changed');
  void line.offsetWidth;
  line.classList.add('changed');
}

function showRows(tree, rows) {
  const body = tree.tBodies[0];
  const known = new Map([...body.rows].map(line => [line.dataset.path, line]));
  const isRevealed = 'revealed' in tree.dataset;
  let last = null;
  for (const row of rows) {
    let line = known.get(row.path);
    known.delete(row.path);
    const isNew = !line;
    line ??= rowOf(row);
    showActs(tree, line, row);
    fill(tree, line, row, isNew);
    const next = last ? last.nextSibling : body.firstChild;
    if (line !== next) body.insertBefore(line, next);
    last = line;
  }
  for (const line of known.values()) {
    // Within what was revealed there are rows that the events do not have.
    const parent = rows.some(row => row.is_hidden && line.dataset.path.startsWith(row.path));
    if (!(isRevealed && parent)) line.remove();
  }
  by('empty').hidden = rows.length > 0;
  tree.hidden = rows.length === 0;
}

function showSession(tree, session) {
  say('');
  showRows(tree, session.rows);
  by('commits').textContent = session.commits;
  by('size').textContent = session.size;
  for (const {name, ago, exact} of session.times) {
    const time = by(name);
    if (!time) continue;
    time.textContent = ago;
    time.dateTime = time.title = exact;
  }
}

// A form: what is typed stays, and a line says what is there now.
function showBeside(place, session) {
  const {path} = place.dataset;
  if (!path) return;
  const row = session.rows.find(row => row.path === path);
  const within = session.rows.filter(row => row.path.startsWith(`${path}.`) || row.path.startsWith(`${path}[`));
  const now = [row ?? {}, ...within].map(({path, kind, text}) => `${path} ${kind} ${text}`).join('\n');
  const first = place.dataset.first ??= now;
  say(now === first ? '' : !row
    ? 'This value is not there any more.'
    : row.is_container
      ? 'The app has changed this value.'
      : `The app has changed this value. It is now: ${row.text}`);
}

function showActivity(place, {charts, rows}) {
  place.querySelectorAll('[data-chart]').forEach((card, at) => {
    const chart = charts[at];
    card.querySelector('[data-total]').textContent = chart.total;
    card.querySelector('[data-most]').textContent = chart.most;
    card.querySelector('svg').setAttribute('aria-label', chart.label);
    card.querySelector('.over').setAttribute('d', chart.bars);
    card.querySelector('.now').setAttribute('d', chart.now);
  });
  [...place.querySelector('tbody').rows].forEach((line, at) => {
    rows[at].forEach((n, column) => { line.cells[column + 1].textContent = n; });
  });
}

function live() {
  const place = document.querySelector('[data-live]');
  if (!place) return;
  const events = new EventSource(place.dataset.live);
  const show = {tree: showSession, process: showActivity}[place.id] ?? showBeside;
  events.addEventListener('shown', event => show(place, JSON.parse(event.data)));
  events.addEventListener('ended', () => {
    events.close();
    say('This session has ended.');
  });
  events.addEventListener('outage', () => say('The store does not answer. What you see may be old.'));
  addEventListener('pagehide', () => events.close());
}

// Items change places at once, where the form would be asked for with each step.
function order() {
  const form = document.querySelector('[data-order]');
  form?.addEventListener('click', event => {
    const button = event.target.closest('[name=move]');
    if (!button) return;
    event.preventDefault();
    const item = button.closest('li');
    if (button.value.startsWith('up')) item.previousElementSibling?.before(item);
    else item.nextElementSibling?.after(item);
    const items = [...item.parentElement.children];
    items.forEach((item, at) => {
      const [up, down] = item.querySelectorAll('[name=move]');
      [up.value, down.value] = [`up:${at}`, `down:${at}`];
      up.disabled = at === 0;
      down.disabled = at === items.length - 1;
    });
    (button.disabled ? item.querySelector('[name=move]:enabled') : button).focus();
  });
}

signIn();
pick();
order();
keys();
live();
