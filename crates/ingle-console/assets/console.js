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
    button.textContent = n === 0 ? 'End selected' : `End ${n} selected`;
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
    if (event.target.closest('input:not([type=checkbox]), textarea, select, dialog')) return;
    const find = by('q');
    if (event.key === '/') find ? find.focus() : location.assign(all('nav a')[2]?.href ?? location.href);
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

function rowOf(tree, row) {
  const line = element('tr', {'data-line': '', 'data-path': row.path});
  line.append(
    element('th', {scope: 'row', class: `depth-${Math.min(row.depth, 8)}`}, row.name),
    element('td', {class: 'kind'}),
    element('td', {class: 'value'}),
  );
  if ('edits' in tree.dataset) {
    const act = element('td', {class: 'act'});
    const link = (to, name, text) => element('a', {
      href: `${tree.dataset.href}/${to}?${new URLSearchParams({[name]: row.path})}`,
      'aria-label': `${text === 'Add' ? 'Add to' : text} ${row.path}`,
    }, text);
    const edit = link('edit', 'path', 'Edit');
    edit.setAttribute('data-open', '');
    edit.setAttribute('data-edit', '');
    act.append(edit);
    if (row.is_container) act.append(' ', link('add', 'in', 'Add'));
    line.append(act);
  }
  return line;
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
    line ??= rowOf(tree, row);
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

function live() {
  const place = document.querySelector('[data-live]');
  if (!place) return;
  const events = new EventSource(place.dataset.live);
  let first = null;
  events.addEventListener('session', event => {
    const session = JSON.parse(event.data);
    if (place.id === 'tree') {
      say('');
      showRows(place, session.rows);
      by('commits').textContent = session.commits;
      by('size').textContent = session.size;
      for (const {name, ago, exact} of session.times) {
        const time = by(name);
        if (!time) continue;
        time.textContent = ago;
        time.dateTime = time.title = exact;
      }
      return;
    }
    // A form: what is typed stays, and a line says what is there now.
    const row = session.rows.find(row => row.path === place.dataset.path);
    const now = row ? `${row.kind} ${row.text}` : 'not there';
    if (!place.dataset.path) return;
    first ??= now;
    place.dataset.first = first;
    say(now === first ? '' : row
      ? `The app has changed this value. It is now: ${row.text}`
      : 'This value is not there any more.');
  });
  events.addEventListener('ended', () => {
    events.close();
    say('This session has ended.');
  });
  events.addEventListener('outage', () => say('The store does not answer. What you see may be old.'));
  addEventListener('pagehide', () => events.close());
}

signIn();
pick();
keys();
live();
