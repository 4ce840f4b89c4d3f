// Peer: express and express-session, on Redis. `node app.mjs PORT REDIS-URL`
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';

const GREETINGS = ['Hello World', 'Hallo Welt', 'Ciao Mondo', 'Salut le Monde', 'Hola Mundo'];
const [port, url] = process.argv.slice(2);

const store = new RedisStore({ client: await createClient({ url }).connect() });
const sessions = { store, name: 'session_id', secret: 'bench', resave: false, saveUninitialized: false };

const app = express();
app.disable('x-powered-by');
app.get('/plain', (request, response) => response.send('<body>0 views for "plain"</body>'));
app.use(session(sessions));
app.get('/', (request, response) => {
  const visit = request.session;
  visit.greeting ??= GREETINGS[Math.floor(Math.random() * GREETINGS.length)];
  visit.views = (visit.views ?? 0) + 1;
  response.send(`<body>${visit.views} views for "${visit.greeting}"</body>`);
});
app.listen(Number(port), '127.0.0.1');
