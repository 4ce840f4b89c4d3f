#!/usr/bin/env bash
#
# Makes a Firestore database fit for sessions. It may be run again: what is there already stays.
#
#   PROJECT=my-project LOCATION=europe-west1 deploy/firestore/setup.sh
#
# PROJECT     the id of the Google Cloud project
# LOCATION    where to create the database, if it is not there yet; it can never be changed. Take the
#             region of the app: a multi-region, such as nam5, costs twice as much
# DATABASE    the database [default: (default)]
# COLLECTION  the collection of the sessions [default: sessions]
# ACCOUNT     a service account to create, if it is not there, and to give the role of the app;
#             the part before the `@` [default: none]. The role is for all databases of the project
#
# It needs gcloud, and an account that may do all this, such as one with roles/owner. The indexes of
# the collection's fields are removed but for one: queries of your own on this collection would
# need theirs again.

set -euo pipefail

PROJECT=${PROJECT:?set PROJECT to the id of the Google Cloud project}
DATABASE=${DATABASE:-(default)}
COLLECTION=${COLLECTION:-sessions}
LOCATION=${LOCATION:-}
ACCOUNT=${ACCOUNT:-}

# shellcheck source-path=SCRIPTDIR source=../google/call.sh
source "$(dirname "${BASH_SOURCE[0]}")/../google/call.sh"

of_collection=(--database="$DATABASE" --collection-group="$COLLECTION")

step "The Firestore API of project $PROJECT"
google services enable firestore.googleapis.com

step "The database $DATABASE"
databases=$(google firestore databases list --format='value(name.basename(),type)')
type=$(awk -v name="$DATABASE" '$1 == name { print $2 }' <<<"$databases")
if [[ $type == FIRESTORE_NATIVE ]]; then
  echo 'It is there.'
elif [[ -n $type ]]; then
  echo "It is there in Datastore mode, in which the store cannot use it." >&2
  echo "To mend: set DATABASE to another name, such as DATABASE=sessions; the rest can stay." >&2
  exit 1
elif [[ -n $LOCATION ]]; then
  google firestore databases create --database="$DATABASE" --location="$LOCATION" \
    --type=firestore-native
else
  echo 'It is not there; set LOCATION, such as europe-west1 or us-west1, to create it.' >&2
  exit 1
fi

if [[ -n $ACCOUNT ]]; then
  step "The service account $ACCOUNT"
  email="$ACCOUNT@$PROJECT.iam.gserviceaccount.com"
  accounts=$(google iam service-accounts list --format='value(email)')
  if grep -qxF -- "$email" <<<"$accounts"; then
    echo 'It is there.'
  else
    google iam service-accounts create "$ACCOUNT" --display-name='The app with the sessions'
  fi
  google projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$email" \
    --role=roles/datastore.user --condition=None --format='value(etag)'
fi

step 'No index on any field of a session'
google firestore indexes fields update '*' "${of_collection[@]}" --disable-indexes

step 'But one on the user'
google firestore indexes fields update _ingle_user "${of_collection[@]}" --index=order=ascending

step 'The index for sweeps'
if ! said=$(google firestore indexes composite create "${of_collection[@]}" \
  --query-scope=collection \
  --field-config=field-path=_ingle.shard,order=ascending \
  --field-config=field-path=_ingle_expires,order=ascending 2>&1); then
  if ! grep -qi 'already.exists' <<<"$said"; then
    printf '%s\n' "$said" >&2
    exit 1
  fi
  said='It is there.'
fi
printf '%s\n' "$said"

step 'The TTL policy, which Google makes in the background'
google firestore fields ttls update _ingle_expires "${of_collection[@]}" --enable-ttl --async

url="firestore://$PROJECT/$COLLECTION"
if [[ $DATABASE != '(default)' ]]; then
  url="firestore://$PROJECT/$DATABASE/$COLLECTION"
fi
printf '\nDone. The store is %s\n' "$url"
