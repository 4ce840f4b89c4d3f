# shellcheck shell=bash
#
# What the scripts for Google share: one way to call gcloud, and what to do where it fails. They set
# PROJECT, and source this.

if ! command -v gcloud >/dev/null; then
  echo 'gcloud is not installed, and nothing was done.' >&2
  echo 'To mend: install it as https://cloud.google.com/sdk/docs/install says.' >&2
  exit 127
fi

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

step() {
  printf '\n== %s\n' "$*"
}

# Calls gcloud for the project. What it says of a failure is shown, with the command that mends it.
google() {
  if { gcloud "$@" --project="$PROJECT" --quiet 2>&1 >&3 | tee "$errors" >&2; } 3>&1; then
    return
  fi
  mend >&2
  exit 1
}

# Whether this is there. Only "not found" means that it is not.
is_there() {
  if gcloud "$@" --project="$PROJECT" --quiet >/dev/null 2>"$errors"; then
    return 0
  fi
  if grep -qiE 'not.found|does not exist|cannot find|could not find|does not contain|\b404\b' "$errors"; then
    return 1
  fi
  cat "$errors" >&2
  mend >&2
  exit 1
}

mend() {
  local said account
  said=$(<"$errors")
  account=$(gcloud config get account 2>/dev/null || true)
  case $said in
    *'active account'* | *'auth login'*)
      echo 'To mend: gcloud auth login' ;;
    *[Bb]illing*)
      echo "To mend: gcloud billing projects link $PROJECT --billing-account=ACCOUNT_ID" ;;
    *SERVICE_DISABLED* | *'has not been used in project'*)
      echo 'To mend: wait a minute, because an API that was just enabled is not there at once, and run this again.' ;;
    *PERMISSION_DENIED* | *'does not have permission'* | *forbidden* | *Forbidden*)
      echo "To mend, as an owner: gcloud projects add-iam-policy-binding $PROJECT --member=user:${account:-ACCOUNT} --role=roles/owner" ;;
    *)
      echo 'What was made until here stays. This may be run again when the cause is gone.' ;;
  esac
}
