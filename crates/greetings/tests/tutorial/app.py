"""The tutorial's app: greets each visitor and counts the views, in a Firestore transaction.

What the greetings app is compared with. The environment says where Firestore is
(FIRESTORE_EMULATOR_HOST), the project (GOOGLE_CLOUD_PROJECT), and the collection of the
sessions (COLLECTION, `sessions` if not set). It is run by `gunicorn app:app`.
"""

import os
import random
from uuid import uuid4

from flask import Flask, make_response, request
from google.cloud import firestore

GREETINGS = ("Hello World", "Hallo Welt", "Ciao Mondo", "Salut le Monde", "Hola Mundo")

app = Flask(__name__)
database = firestore.Client()
sessions = database.collection(os.environ.get("COLLECTION", "sessions"))


@firestore.transactional
def count_view(transaction, session_id):
    """Adds a view to a session, and returns it. The client library runs this again on a conflict."""
    doc_ref = sessions.document(session_id)
    stored = doc_ref.get(transaction=transaction)
    if stored.exists:
        session = stored.to_dict()
    else:
        session = {"greeting": random.choice(GREETINGS), "views": 0}
    session["views"] += 1
    transaction.set(doc_ref, session)
    return session


@app.get("/")
def home():
    session_id = request.cookies.get("session_id") or str(uuid4())
    session = count_view(database.transaction(), session_id)
    views, greeting = session["views"], session["greeting"]
    response = make_response(f'<body>{views} views for "{greeting}"</body>')
    response.set_cookie("session_id", session_id, httponly=True)
    return response
