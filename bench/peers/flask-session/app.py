"""Peer: Flask and Flask-Session, on the Redis that REDIS_URL names."""
import os
import random

import redis
from flask import Flask, session
from flask_session import Session

GREETINGS = ["Hello World", "Hallo Welt", "Ciao Mondo", "Salut le Monde", "Hola Mundo"]

app = Flask(__name__)
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.from_url(os.environ["REDIS_URL"]),
    SESSION_COOKIE_NAME="session_id",
)
Session(app)


@app.get("/")
def home():
    session.setdefault("greeting", random.choice(GREETINGS))
    session["views"] = session.get("views", 0) + 1
    return f'<body>{session["views"]} views for "{session["greeting"]}"</body>'


@app.get("/plain")
def plain():
    return '<body>0 views for "plain"</body>'
