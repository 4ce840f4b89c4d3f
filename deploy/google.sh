#!/usr/bin/env bash
#
# Runs the app on Google Cloud: on Cloud Run with sessions in Firestore, or on App Engine.
#
#   deploy/google.sh up     makes what is missing, builds and deploys, and ends with the URL
#   deploy/google.sh open   opens the app in a browser
#   deploy/google.sh logs   shows its newest log lines
#   deploy/google.sh down   shows what `up` made, asks, and deletes exactly that
#
#   --app-engine            with any of them: App Engine's flexible environment, where one instance
#                           at least runs and is paid for
#   --project               with down: deletes the whole project
#
# It takes from the environment:
#
#   PROJECT     the id of the project, which exists and has billing [default: gcloud's own]
#   REGION      where all of it is [default: europe-west1]
#   APP         the name of all that is made: 6 to 30 small letters, digits and hyphens, as a service
#               account takes it [default: greetings]
#   DATABASE    the Firestore database [default: the name of the app]
#   COLLECTION  the collection of the sessions [default: sessions]
#
# `up` may be run again: what is right stays as it is. What it makes it first notes as a label on its
# bucket. So `down` knows what was there before, and leaves that. Each task takes the same names as
# `up`. It needs gcloud, for `up` also git, and an account that may do all this, such as one with
# roles/owner.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  sed -n '3,/^$/s/^# \{0,1\}//p' deploy/google.sh
}

task=${1:-help}
on=run
whole_project=
for option in "${@:2}"; do
  case $task:$option in
    *:--app-engine) on=app-engine ;;
    down:--project) whole_project=yes ;;
    *) task=wrong ;;
  esac
done
case $task in
  up | open | logs | down) ;;
  help | -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

# shellcheck source-path=SCRIPTDIR source=google/call.sh
source deploy/google/call.sh

PROJECT=${PROJECT:-$(gcloud config get project 2>/dev/null)}
PROJECT=${PROJECT:?set PROJECT to the id of the Google Cloud project}
REGION=${REGION:-europe-west1}
APP=${APP:-greetings}
DATABASE=${DATABASE:-$APP}
COLLECTION=${COLLECTION:-sessions}

bucket_name=$PROJECT-$APP
bucket=gs://$bucket_name
images=$REGION-docker.pkg.dev/$PROJECT/$APP
email=$APP@$PROJECT.iam.gserviceaccount.com
member=serviceAccount:$email
store=firestore://$PROJECT/$DATABASE/$COLLECTION

if ! [[ $APP =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]]; then
  echo "APP=$APP is no name for a service account, and nothing was done." >&2
  echo 'To mend: set APP to 6 to 30 small letters, digits and hyphens, with a letter first.' >&2
  exit 2
fi

# In $(…) bash goes on after a command that fails, and the bash of macOS has no option against that. So
# what asks Google is the only command of its $(…), with `|| exit` behind it, and a function that does
# more than ask sets a variable in the place of printing.

# Whether what has this label is there. `service` is that of Cloud Run.
there() {
  case $1 in
    bucket) is_there storage buckets describe "$bucket" ;;
    database) is_there firestore databases describe --database="$DATABASE" ;;
    account) is_there iam service-accounts describe "$email" ;;
    images) is_there artifacts repositories describe "$APP" --location="$REGION" ;;
    service) is_there run services describe "$APP" --region="$REGION" ;;
    engine-service) is_there app services describe "$APP" ;;
    engine-default) is_there app services describe default ;;
  esac
}

labels() {
  google storage buckets describe "$bucket" --format='value(labels)'
}

made() {
  grep -qE "(^|;)$1=made(;|\$)" <<<"$labels"
}

note() {
  google storage buckets update "$bucket" --update-labels="$1=made"
}

# Notes that this script makes something, unless it is there. True if it is to be made.
to_make() {
  if there "$1"; then
    return 1
  fi
  note "$1"
}

# The roles that the account of the app has in the project.
roles() {
  google projects get-iam-policy "$PROJECT" --flatten='bindings[].members' \
    --filter="bindings.members=$member" --format='value(bindings.role)'
}

# What notes a role that this script gives.
label_of() {
  tr 'A-Z.' 'a-z-' <<<"role-$1"
}

# Notes a role that the account is given next, unless it has it.
to_give() {
  local given
  given=$(roles) || exit
  if ! grep -qxF -- "roles/$1" <<<"$given"; then
    note "$(label_of "$1")"
  fi
}

# Whether the bucket is what an `up` leaves that was cut short before its first note: it is of this
# project, whose id it begins with, and has neither a label nor an object.
is_left_over() {
  local buckets objects
  [[ -z $labels ]] || return 1
  buckets=$(google storage buckets list --format='value(name)') || exit
  grep -qxF -- "$bucket_name" <<<"$buckets" || return 1
  objects=$(google storage ls "$bucket" --all-versions) || exit
  [[ -z $objects ]]
}

# The app itself is replaced by each deployment, so one that is somebody else's is left alone.
refuse_others() {
  if ! made "$1" && there "$1"; then
    echo "$2 is there, and not made by this script. It stays as it is, and so does what \`up\` has made." >&2
    echo "To mend: set APP to another name, such as APP=$APP-2." >&2
    exit 1
  fi
}

# A name as a label can hold it.
as_label() {
  tr '[:upper:]' '[:lower:]' <<<"$1" | sed 's/[^a-z0-9_-]/-/g'
}

# With another name than `up` had, `down` would miss what was made, and delete what was not.
refuse_another() {
  local noted
  noted=$(tr ';' '\n' <<<"$labels" | sed -n "s/^$1=//p")
  if [[ -n $noted && $noted != "$(as_label "$3")" ]]; then
    echo "\`up\` had $2=$noted, and this is $2=$3. Nothing was changed." >&2
    echo "To mend: set $2 to what it was." >&2
    exit 1
  fi
}

refuse_other_names() {
  refuse_another region REGION "$REGION"
  refuse_another database-name DATABASE "$DATABASE"
}

# Asked at first, because what needs it comes after much is made. The git that macOS has before it is
# installed can only say that it is not.
refuse_without_git() {
  if ! git --version >/dev/null 2>&1; then
    echo 'git is not installed, and nothing was done.' >&2
    echo 'To mend: install it as https://git-scm.com/downloads says.' >&2
    exit 127
  fi
}

up() {
  refuse_without_git
  step "The APIs of project $PROJECT"
  google services enable artifactregistry.googleapis.com cloudbuild.googleapis.com \
    firestore.googleapis.com iam.googleapis.com storage.googleapis.com \
    "$([[ $on == run ]] && echo run.googleapis.com || echo appengineflex.googleapis.com)"

  step "The bucket $bucket, for sources and notes"
  if there bucket; then
    echo 'It is there.'
  else
    google storage buckets create "$bucket" --location="$REGION" \
      --uniform-bucket-level-access --public-access-prevention
    note bucket
  fi
  labels=$(labels) || exit
  if is_left_over; then
    note bucket
    labels=bucket=made
  fi
  refuse_others bucket "The bucket $bucket"
  refuse_other_names
  google storage buckets update "$bucket" \
    --update-labels="region=$(as_label "$REGION"),database-name=$(as_label "$DATABASE")"

  to_make database || true
  to_make account || true
  to_give datastore.user
  PROJECT=$PROJECT LOCATION=$REGION DATABASE=$DATABASE COLLECTION=$COLLECTION ACCOUNT=$APP \
    deploy/firestore/setup.sh

  step "The repository $images"
  if to_make images; then
    google artifacts repositories create "$APP" --location="$REGION" --repository-format=docker
  else
    echo 'It is there.'
  fi

  build
  if [[ $on == run ]]; then
    on_cloud_run
  else
    on_app_engine
  fi
  find_address
  printf '\n%s\n' "$address"
}

# The tag is a hash of all that is sent to be built, so what was built already is not built again.
build() {
  local files tag tags
  files=$(gcloud meta list-files-for-upload | LC_ALL=C sort)
  tag=$({ echo "$files"; git hash-object --stdin-paths <<<"$files"; } | git hash-object --stdin)
  tag=${tag:0:16}
  image=$images/$APP:$tag
  step "The image $image"
  tags=$(google artifacts docker images list "$images" --include-tags --format='value(tags)')
  if grep -qwF -- "$tag" <<<"$tags"; then
    echo 'It is there.'
  else
    google builds submit . --config=deploy/cloudbuild.yaml --substitutions=_IMAGE="$image" \
      --gcs-source-staging-dir="$bucket/source"
  fi
}

on_cloud_run() {
  step "The service $APP on Cloud Run"
  refuse_others service "The service $APP"
  to_make service || true
  # It is what this says. Where it is that already, Google makes no new revision.
  google run services replace - --region="$REGION" <<SERVICE
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: $APP
  annotations:
    # Everybody may see the app.
    run.googleapis.com/invoker-iam-disabled: 'true'
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/maxScale: '10'
        # Visitors come back to the instance that knows their session, where it can be.
        run.googleapis.com/sessionAffinity: 'true'
    spec:
      serviceAccountName: $email
      containerConcurrency: 200
      containers:
      - image: $image
        # Between requests there is no CPU for sweeps. The TTL policy deletes dead sessions.
        args: [--sweep, 'off']
        ports:
        - containerPort: 8080
        env:
        - name: INGLE_STORE
          value: $store
        resources:
          limits:
            cpu: '1'
            memory: 256Mi
        startupProbe:
          httpGet:
            path: /ready
          # Longer than the app waits for its store.
          timeoutSeconds: 3
          periodSeconds: 3
          failureThreshold: 10
        livenessProbe:
          httpGet:
            path: /health
          timeoutSeconds: 3
          periodSeconds: 30
SERVICE
}

# The same image by `gcloud app deploy`, with app.yaml as it is but for the names.
on_app_engine() {
  local folder role version yaml
  step "App Engine"
  if is_there app describe; then
    echo 'It is there.'
  else
    echo 'An app of App Engine stays as long as its project.'
    google app create --region="$(sed -E 's/^(europe-west|us-central)1$/\1/' <<<"$REGION")"
  fi
  choose_engine_service
  step "The service $service on App Engine"
  # Its machines fetch the image and write the log as the account of the app.
  for role in artifactregistry.reader logging.logWriter; do
    to_give "$role"
    google projects add-iam-policy-binding "$PROJECT" --member="$member" \
      --role="roles/$role" --condition=None --format='value(etag)'
  done
  yaml=$(app_yaml)
  # Another image is another version, and so is another app.yaml.
  version=$(printf '%s\n' "$image" "$yaml" | git hash-object --stdin)
  version=v${version:0:16}
  if is_there app versions describe "$version" --service="$service"; then
    take_up "$version"
    return
  fi
  folder=$(mktemp -d)
  printf '%s\n' "$yaml" >"$folder/app.yaml"
  google app deploy "$folder/app.yaml" --image-url="$image" --version="$version"
  rm -r "$folder"
}

# app.yaml with the names of this app. Whole lines are replaced, so no name is looked for in another.
app_yaml() {
  local line
  while IFS= read -r line; do
    case $line in
      'service: '*) line="service: $service" ;;
      'service_account: '*) line="service_account: $email" ;;
      '  INGLE_STORE: '*) line="  INGLE_STORE: $store" ;;
    esac
    printf '%s\n' "$line"
  done <app.yaml
}

# Starts a version that is there, and gives it the traffic, unless it has both. It was stopped by a later
# deployment, or by `down`. What `up` deployed beside it is stopped, because it would be paid for.
take_up() {
  local mine other others share status versions
  versions=$(google app versions list --service="$service" \
    --format='value(id,version.servingStatus,traffic_split)') || exit
  mine=$(awk -v name="$1" '$1 == name { print $2, $3 + 0 }' <<<"$versions")
  others=$(awk -v name="$1" '$1 != name && $2 == "SERVING" { print $1 }' <<<"$versions" |
    sed -n '/^v[0-9a-f]\{16\}$/p')
  read -r status share <<<"$mine"
  if [[ $status != SERVING ]]; then
    google app versions start "$1" --service="$service"
  fi
  if [[ $share != 1 ]]; then
    google app services set-traffic "$service" --splits="$1=1"
  fi
  for other in $others; do
    google app versions stop "$other" --service="$service"
  done
  echo 'It is there, and has the traffic.'
}

# Sets `service` to the one that is deployed to, and notes it. The first service of an app of App Engine
# is always `default`. One that is there may be somebody else's.
choose_engine_service() {
  local services
  services=$(google app services list --format='value(id)') || exit
  if made engine-default || [[ -z $services ]]; then
    service=default
    note engine-default
  else
    refuse_others engine-service "The service $APP"
    service=$APP
    note engine-service
  fi
}

# Sets `service` to the one that `up` has noted, and changes nothing.
find_engine_service() {
  labels=
  if there bucket; then
    labels=$(labels) || exit
  fi
  if made engine-default; then
    service=default
  elif made engine-service; then
    service=$APP
  else
    echo "\`up\` has noted no app on App Engine in project $PROJECT. Nothing was changed." >&2
    echo 'To mend: deploy/google.sh up --app-engine' >&2
    exit 1
  fi
}

# Sets `address` to the URL of the app.
find_address() {
  if [[ $on == run ]]; then
    address=$(google run services describe "$APP" --region="$REGION" --format='value(status.url)') || exit
  else
    find_engine_service
    address=$(google app browse --service="$service" --no-launch-browser) || exit
  fi
}

open_browser() {
  local program
  find_address
  echo "$address"
  # On some Linux systems, open is a program that has nothing to do with browsers.
  for program in "${BROWSER:-xdg-open}" xdg-open open; do
    if command -v "$program" >/dev/null; then
      "$program" "$address"
      return
    fi
  done
}

logs() {
  if [[ $on == run ]]; then
    google run services logs read "$APP" --region="$REGION" --limit=100
  else
    find_engine_service
    google app logs read --service="$service" --limit=100
  fi
}

# Asks before something is deleted: the answer is the name of the project.
confirm() {
  local answer
  printf 'This cannot be undone. To go on, type the name of the project, %s: ' "$PROJECT"
  read -r answer || true
  if [[ $answer != "$PROJECT" ]]; then
    echo 'Nothing was deleted.' >&2
    exit 1
  fi
}

down() {
  if [[ -n $whole_project ]]; then
    echo "The project $PROJECT is deleted with all that is in it, whoever made it."
    confirm
    google projects delete "$PROJECT"
    return
  fi
  if ! there bucket; then
    echo "Nothing is there that this script made in project $PROJECT."
    return
  fi
  labels=$(labels) || exit
  if is_left_over; then
    labels=bucket=made
  fi
  refuse_others bucket "The bucket $bucket"
  refuse_other_names
  echo "In project $PROJECT, this is deleted:"
  ! made service || echo "  the service $APP on Cloud Run, in $REGION"
  ! made engine-service || echo "  the service $APP on App Engine"
  ! made images || echo "  the repository $images with its images"
  ! made account || echo "  the service account $email and its roles"
  ! made database || echo "  the database $DATABASE with all that is in it"
  echo "  the bucket $bucket with the sources of builds"
  echo 'This stays:'
  made database || echo "  the database $DATABASE, also its collection $COLLECTION: it was there before"
  ! made engine-default || echo '  the app of App Engine: its versions are stopped, and only the project can be deleted'
  made account || echo "  the service account $email, without the roles that \`up\` gave it: it was there before"
  echo '  the APIs that were enabled, which cost nothing'
  confirm
  delete
}

# Each only if it is there still, because an earlier run may have been cut short. The notes go last.
delete() {
  local given role version versions
  # Without an answer, which roles are taken away is not known. So this comes before the first deletion.
  given=$(roles) || exit
  delete_one service run services delete "$APP" --region="$REGION"
  delete_one engine-service app services delete "$APP"
  # It is noted before it is deployed to, and that may have failed.
  if made engine-default && there engine-default; then
    versions=$(google app versions list --service=default --format='value(id)') || exit
    for version in $versions; do
      google app versions stop "$version" --service=default
    done
  fi
  delete_one images artifacts repositories delete "$APP" --location="$REGION"
  for role in $given; do
    if made "$(label_of "${role#roles/}")"; then
      google projects remove-iam-policy-binding "$PROJECT" --member="$member" \
        --role="$role" --condition=None --format='value(etag)'
    fi
  done
  delete_one account iam service-accounts delete "$email"
  delete_one database firestore databases delete --database="$DATABASE"
  step "The bucket $bucket"
  google storage rm "$bucket" --recursive
  printf '\nDone. What was made is deleted.\n'
}

delete_one() {
  if made "$1" && there "$1"; then
    step "The $1"
    google "${@:2}"
  fi
}

case $task in
  up) up ;;
  open) open_browser ;;
  logs) logs ;;
  down) down ;;
esac
