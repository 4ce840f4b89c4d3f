//! `deploy/google.sh` as people run it, with the real `gcloud`, against the fake of Google.
//!
//! What cannot be seen here is whether Google's servers take what `gcloud` sends.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::google::{Google, PROJECT};

use super::tools;
use crate::step::{Steps, root};

const SCRIPT: &str = "deploy/google.sh";
const ON_CLOUD_RUN: &[&str] = &[];
const ON_APP_ENGINE: &[&str] = &["--app-engine"];

pub(super) fn on_cloud_run(steps: &mut Steps) -> Result<()> {
    if !tools::has_gcloud() {
        steps.skip("Cloud Run", "gcloud is not installed: Cloud Run is not tried.");
        return Ok(());
    }
    steps.run("Cloud Run, on a fake of Google", cloud_run)?;
    steps.run("what was there before, on a fake of Google", what_was_there)?;
    steps.run("a bucket without a note, on a fake of Google", bucket_without_note)?;
    steps.run("what Google refuses, on a fake of it", refusals)?;
    steps.run("roles that Google does not tell, on a fake of it", unknown_roles)?;
    steps.run("no git, on a fake of Google", no_git)
}

pub(super) fn on_app_engine(steps: &mut Steps) -> Result<()> {
    if !tools::has_gcloud() {
        steps.skip("App Engine", "gcloud is not installed: App Engine is not tried.");
        return Ok(());
    }
    steps.run("app.yaml, on a fake of Google", app_yaml)?;
    steps.run("App Engine, on a fake of Google", app_engine)?;
    steps.run("versions of App Engine, on a fake of Google", versions)?;
    steps.run("what App Engine refuses, on a fake of Google", engine_refusals)
}

/// A project that nobody has touched, and a folder for what gcloud keeps.
struct Project {
    google: Google,
    variables: Vec<(&'static str, String)>,
    _folder: TempDir,
}

impl Project {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("could not make a folder for gcloud")?;
        let google = Google::start()?;
        let variables = google.variables(folder.path())?;
        Ok(Self { google, variables, _folder: folder })
    }

    /// Sets a variable for all commands that follow.
    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(root()).env("PROJECT", PROJECT);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Not the browser of a person who runs the tests.
        command.env("BROWSER", "true");
        command
    }

    fn script(&self, task: &str, options: &[&str], input: &str) -> Result<Output> {
        let mut script = self.command(SCRIPT);
        script.arg(task).args(options);
        output(script, input)
    }

    /// Runs a task of the script that must go well, and returns what it printed.
    fn well(&self, task: &str, options: &[&str], input: &str) -> Result<String> {
        let output = self.script(task, options, input)?;
        ensure!(
            output.status.success(),
            "`{SCRIPT} {task}` failed:\n{}\nUnknown calls: {:#?}",
            all(&output),
            self.google.unknown()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a task that must fail, and returns its last line.
    fn mend(&self, task: &str, options: &[&str]) -> Result<String> {
        let output = self.script(task, options, "")?;
        ensure!(!output.status.success(), "`{SCRIPT} {task}` went well:\n{}", all(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().last().map(str::to_owned).context("it said nothing")
    }

    /// Whether `up` has noted on its bucket that it made this.
    fn has_noted(&self, label: &str) -> bool {
        self.google.contents()[bucket()]["labels"][label] == "made"
    }

    /// The version of App Engine's `default` that has all the traffic. No other one may run.
    fn serving(&self) -> Result<String> {
        let contents = self.google.contents();
        let split = contents[engine_service()]["split"]["allocations"].as_object().cloned();
        let served: Vec<String> = split.into_iter().flatten().map(|(version, _)| version).collect();
        let below = format!("{}/versions/", engine_service());
        let all = contents.as_object().into_iter().flatten();
        let running: Vec<String> = all
            .filter(|(_, version)| version["servingStatus"] == "SERVING")
            .filter_map(|(name, _)| Some(name.strip_prefix(&below)?.to_owned()))
            .collect();
        ensure!(
            served == running && served.len() == 1,
            "{served:?} have the traffic, and {running:?} run"
        );
        served.into_iter().next().context("no version has the traffic")
    }

    /// The URL of the store that a version of App Engine is given.
    fn store_of(&self, version: &str) -> Value {
        self.google.contents()[version_named(version)]["envVariables"]["INGLE_STORE"].clone()
    }

    fn all_calls_were_known(&self) -> Result<()> {
        let unknown = self.google.unknown();
        ensure!(unknown.is_empty(), "the fake does not know these calls of gcloud: {unknown:#?}");
        Ok(())
    }
}

/// Where the fake keeps the bucket with the notes.
fn bucket() -> String {
    format!("storage/storage/b/{PROJECT}-greetings")
}

/// Where it keeps the first service of App Engine.
fn engine_service() -> String {
    format!("appengine/apps/{PROJECT}/services/default")
}

fn version_named(version: &str) -> String {
    format!("{}/versions/{version}", engine_service())
}

fn cloud_run() -> Result<()> {
    let project = Project::new()?;
    let before = project.google.contents();
    let printed = project.well("up", ON_CLOUD_RUN, "")?;
    let url = "https://greetings-1.europe-west1.run.app";
    ensure!(printed.trim_end().ends_with(url), "up does not end with the URL:\n{printed}");
    let made = project.google.contents();
    project.well("up", ON_CLOUD_RUN, "")?;
    same(&made, &project.google.contents()).context("the second up has changed something")?;
    ensure!(project.well("open", ON_CLOUD_RUN, "")?.contains(url), "open does not say the URL");
    ensure!(project.well("logs", ON_CLOUD_RUN, "")?.contains("GET / 200"), "logs shows no line");
    let refused = project.script("down", ON_CLOUD_RUN, "no\n")?;
    ensure!(!refused.status.success(), "down goes on without a yes");
    same(&made, &project.google.contents()).context("down deletes before it is told to")?;
    let shown = project.well("down", ON_CLOUD_RUN, &format!("{PROJECT}\n"))?;
    ensure!(
        shown.contains("the database greetings with all that is in it"),
        "down does not show what it deletes:\n{shown}"
    );
    same(&before, &project.google.contents()).context("the project is not as it was before")?;
    project.well("down", ON_CLOUD_RUN, "")?;
    project.well("up", ON_CLOUD_RUN, "")?;
    project.well("down", &["--project"], &format!("{PROJECT}\n"))?;
    same(&json!({}), &project.google.contents()).context("the project is there still")?;
    project.all_calls_were_known()?;
    println!("up twice, open, logs and down: the project is as it was.");
    Ok(())
}

/// The database and the account are somebody else's, so they stay.
fn what_was_there() -> Result<()> {
    let project = Project::new()?;
    put_database(&project, "FIRESTORE_NATIVE");
    let email = format!("greetings@{PROJECT}.iam.gserviceaccount.com");
    let account = format!("projects/{PROJECT}/serviceAccounts/{email}");
    project.google.put(&format!("iam/{account}"), json!({ "name": account, "email": email }));
    // Somebody gave it a role, too.
    let theirs = json!({
        "bindings": [{ "members": [format!("serviceAccount:{email}")], "role": "roles/viewer" }],
    });
    project.google.put("cloudresourcemanager/policy", theirs.clone());
    project.well("up", ON_CLOUD_RUN, "")?;
    let service = format!("run/namespaces/{PROJECT}/services/greetings");
    let running = project.google.contents()[&service].clone();
    let shown = project.well("down", ON_CLOUD_RUN, &format!("{PROJECT}\n"))?;
    ensure!(shown.contains("it was there before"), "down does not say what stays:\n{shown}");
    let left = project.google.contents();
    let roles = &left["cloudresourcemanager/policy"]["bindings"];
    ensure!(*roles == theirs["bindings"], "the account has other roles than before: {roles:#}");
    let left: Vec<&String> = left.as_object().into_iter().flat_map(|left| left.keys()).collect();
    let stays = |name: &&&String| {
        name.starts_with("firestore/")
            || name.starts_with("iam/")
            || name.as_str() == "cloudresourcemanager/policy"
    };
    ensure!(left.iter().all(|name| stays(&name)) && left.len() > 2, "left is {left:#?}");
    project.google.put(&service, running);
    let mend = project.mend("up", ON_CLOUD_RUN)?;
    ensure!(
        mend.contains("set APP to another name"),
        "the service of somebody else is not spared: {mend}"
    );
    project.all_calls_were_known()?;
    println!("What was there before stays.");
    Ok(())
}

/// One that is empty is what an `up` leaves that was cut short. Any other is somebody else's.
fn bucket_without_note() -> Result<()> {
    let project = Project::new()?;
    let before = project.google.contents();
    let name = format!("{PROJECT}-greetings");
    let resource = json!({
        "kind": "storage#bucket", "id": name, "name": name, "location": "EUROPE-WEST1", "projectNumber": "1",
        "metageneration": "1", "etag": "BwYA", "storageClass": "STANDARD",
    });
    let yes = format!("{PROJECT}\n");
    project.google.put(&bucket(), resource.clone());
    project.well("down", ON_CLOUD_RUN, &yes)?;
    same(&before, &project.google.contents()).context("down leaves an empty bucket")?;
    project.google.put(&bucket(), resource.clone());
    project.well("up", ON_CLOUD_RUN, "")?;
    project.well("down", ON_CLOUD_RUN, &yes)?;
    same(&before, &project.google.contents()).context("the project is not as it was before")?;
    project.google.put(&bucket(), resource);
    let object = json!({
        "kind": "storage#object", "bucket": name, "name": "theirs", "id": format!("{name}/theirs/1"),
        "generation": "1", "metageneration": "1", "size": "1",
    });
    project.google.put(&format!("{}/o/theirs", bucket()), object);
    let theirs = project.google.contents();
    let mend = project.mend("up", ON_CLOUD_RUN)?;
    ensure!(mend.contains("set APP to another name"), "a bucket with an object is taken: {mend}");
    let refused = project.script("down", ON_CLOUD_RUN, &yes)?;
    ensure!(!refused.status.success(), "a bucket with an object is deleted:\n{}", all(&refused));
    same(&theirs, &project.google.contents()).context("the bucket is not left alone")?;
    project.all_calls_were_known()?;
    println!("An empty bucket without a note is taken, and one with an object is left alone.");
    Ok(())
}

fn refusals() -> Result<()> {
    let project = Project::new()?;
    put_database(&project, "DATASTORE_MODE");
    let mend = project.mend("up", ON_CLOUD_RUN)?;
    ensure!(mend.contains("To mend: set DATABASE"), "a database in Datastore mode: {mend}");
    println!("In Datastore mode: {mend}");
    for api in ["serviceusage", "storage", "firestore", "iam", "artifactregistry", "run"] {
        let project = Project::new()?;
        project.google.refuse(api);
        let mend = project.mend("up", ON_CLOUD_RUN)?;
        let command = format!("gcloud projects add-iam-policy-binding {PROJECT}");
        ensure!(
            mend.starts_with("To mend") && mend.contains(&command),
            "where {api} refuses: {mend}"
        );
    }
    println!("Where a call is refused, the last line names the role.");
    Ok(())
}

/// What the account has already is asked before a role is noted, and before anything is deleted. Where
/// Google does not say, both end there.
fn unknown_roles() -> Result<()> {
    let project = Project::new()?;
    let before = project.google.contents();
    let call = format!("POST cloudresourcemanager/projects/{PROJECT}:getIamPolicy");
    project.google.refuse(&call);
    project.mend("up", ON_CLOUD_RUN)?;
    ensure!(project.has_noted("bucket"), "up has failed too early for this test");
    ensure!(!project.has_noted("role-datastore-user"), "up notes a role that may have been there");
    project.google.allow();
    project.well("up", ON_CLOUD_RUN, "")?;
    let made = project.google.contents();
    project.google.refuse(&call);
    let yes = format!("{PROJECT}\n");
    let refused = project.script("down", ON_CLOUD_RUN, &yes)?;
    ensure!(!refused.status.success(), "down says that all went well:\n{}", all(&refused));
    same(&made, &project.google.contents()).context("down deletes before it knows the roles")?;
    project.google.allow();
    project.well("down", ON_CLOUD_RUN, &yes)?;
    same(&before, &project.google.contents()).context("the project is not as it was before")?;
    project.all_calls_were_known()?;
    println!("No role is noted or forgotten where Google does not tell the roles.");
    Ok(())
}

fn no_git() -> Result<()> {
    let mut project = Project::new()?;
    let folder = tempfile::tempdir().context("could not make a folder for a git")?;
    let git = folder.path().join("git");
    fs::write(&git, "#!/bin/sh\nexit 1\n").context("could not write a git that fails")?;
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755))
        .context("could not make it a program")?;
    let path = env::var("PATH").context("there is no PATH")?;
    project.set("PATH", &format!("{}:{path}", folder.path().display()));
    let mend = project.mend("up", ON_CLOUD_RUN)?;
    ensure!(mend.starts_with("To mend") && mend.contains("git-scm.com"), "without git: {mend}");
    let changes = project.google.changes();
    ensure!(changes.is_empty(), "without git, these are made: {changes:#?}");
    println!("Without git: {mend}");
    Ok(())
}

fn put_database(project: &Project, kind: &str) {
    let name = format!("projects/{PROJECT}/databases/greetings");
    let database = json!({ "name": name, "type": kind, "locationId": "europe-west1" });
    project.google.put(&format!("firestore/{name}"), database);
}

fn app_engine() -> Result<()> {
    let project = Project::new()?;
    let printed = project.well("up", ON_APP_ENGINE, "")?;
    let url = printed.lines().last().unwrap_or_default();
    ensure!(url.starts_with("https://"), "up does not end with the URL:\n{printed}");
    let made = project.google.contents();
    project.well("up", ON_APP_ENGINE, "")?;
    same(&made, &project.google.contents()).context("the second up has changed something")?;
    let store = format!("firestore://{PROJECT}/greetings/sessions");
    same(&json!(store), &project.store_of(&project.serving()?)).context("the store is wrong")?;
    let changes = project.google.changes();
    project.well("open", ON_APP_ENGINE, "")?;
    project.well("logs", ON_APP_ENGINE, "")?;
    ensure!(project.google.changes() == changes, "open or logs has changed something");
    let shown = project.well("down", ON_APP_ENGINE, &format!("{PROJECT}\n"))?;
    ensure!(shown.contains("its versions are stopped"), "down does not say what stays:\n{shown}");
    let left = project.google.contents();
    let left = left.as_object().into_iter().flatten();
    for (name, resource) in left {
        ensure!(name.starts_with("appengine/"), "{name} is there still");
        let stopped = !name.contains("/versions/") || resource["servingStatus"] == "STOPPED";
        ensure!(stopped, "{name} still serves");
    }
    project.all_calls_were_known()?;
    println!("up twice, open, logs and down: what can be deleted of App Engine's is.");
    Ok(())
}

/// Each app.yaml is a version of its own. Whatever was deployed before, the one that `up` is asked for
/// runs and has the traffic.
fn versions() -> Result<()> {
    let mut project = Project::new()?;
    project.well("up", ON_APP_ENGINE, "")?;
    let first = project.serving()?;
    project.set("COLLECTION", "visits");
    project.well("up", ON_APP_ENGINE, "")?;
    let second = project.serving()?;
    let store = format!("firestore://{PROJECT}/greetings/visits");
    same(&json!(store), &project.store_of(&second)).context("the store is wrong")?;
    project.set("COLLECTION", "sessions");
    project.well("up", ON_APP_ENGINE, "")?;
    let third = project.serving()?;
    ensure!(third == first, "up goes back to {third}, and the first was {first}");
    // As a `down` leaves it that was cut short.
    let name = version_named(&first);
    let mut stopped = project.google.contents()[&name].clone();
    stopped["servingStatus"] = json!("STOPPED");
    project.google.put(&name, stopped);
    project.well("up", ON_APP_ENGINE, "")?;
    ensure!(project.serving()? == first, "up does not start the version that is there");
    let there = project.google.contents();
    project.well("up", ON_APP_ENGINE, "")?;
    same(&there, &project.google.contents()).context("one more up has changed something")?;
    project.all_calls_were_known()?;
    println!("A version that is there is started and has the traffic, and no other one runs.");
    Ok(())
}

/// Where App Engine does not say what is there, no service is taken. What it does not deploy, `down` does
/// not miss. Without an app, open and logs note nothing.
fn engine_refusals() -> Result<()> {
    let project = Project::new()?;
    project.google.refuse(&format!("GET appengine/apps/{PROJECT}/services"));
    project.mend("up", ON_APP_ENGINE)?;
    ensure!(project.has_noted("images"), "up has failed too early for this test");
    for label in ["engine-default", "engine-service"] {
        ensure!(!project.has_noted(label), "up has noted {label}, and does not know the services");
    }
    project.google.refuse(&format!("POST {}/versions", engine_service()));
    project.mend("up", ON_APP_ENGINE)?;
    ensure!(project.has_noted("engine-default"), "up has failed too early for this test");
    project.google.allow();
    project.well("down", ON_APP_ENGINE, &format!("{PROJECT}\n"))?;
    project.well("up", ON_CLOUD_RUN, "")?;
    let changes = project.google.changes();
    for task in ["open", "logs"] {
        let mend = project.mend(task, ON_APP_ENGINE)?;
        ensure!(mend.contains("up --app-engine"), "{task} without an app: {mend}");
    }
    ensure!(project.google.changes() == changes, "open or logs has changed something");
    project.all_calls_were_known()?;
    println!("Where the services are not known, none is taken, and open and logs change nothing.");
    Ok(())
}

/// As the tutorial does it: `gcloud app deploy` beside app.yaml.
fn app_yaml() -> Result<()> {
    let project = Project::new()?;
    let text = fs::read_to_string(root().join("app.yaml")).context("could not read app.yaml")?;
    let image = format!("europe-west1-docker.pkg.dev/{PROJECT}/greetings/greetings:1");
    let deploy = |text: &str| {
        let folder = tempfile::tempdir().context("could not make a folder for app.yaml")?;
        fs::write(folder.path().join("app.yaml"), text.replace("my-project", PROJECT))
            .context("could not write it")?;
        let mut gcloud = project.command("gcloud");
        gcloud.args(["app", "deploy", "--quiet", "--version=v1", "--image-url", &image]);
        gcloud.arg(folder.path().join("app.yaml"));
        output(gcloud, "")
    };
    let mut create = project.command("gcloud");
    create.args(["app", "create", "--region=europe-west", "--quiet"]);
    let created = output(create, "")?;
    ensure!(created.status.success(), "gcloud app create failed:\n{}", all(&created));
    let typo = deploy(&text.replace("readiness_check:", "readyness_check:"))?;
    ensure!(
        !typo.status.success() && all(&typo).contains("readyness_check"),
        "a wrong key is not named:\n{}",
        all(&typo)
    );
    let deployed = deploy(&text)?;
    ensure!(deployed.status.success(), "app.yaml is refused:\n{}", all(&deployed));
    let contents = project.google.contents();
    let version = &contents[version_named("v1")];
    let wanted = json!({
        "livenessCheck": "/health", "readinessCheck": "/ready", "least": 1,
        "store": format!("firestore://{PROJECT}/greetings/sessions"),
    });
    let found = json!({
        "livenessCheck": version["livenessCheck"]["path"], "readinessCheck": version["readinessCheck"]["path"],
        "least": version["automaticScaling"]["minTotalInstances"],
        "store": version["envVariables"]["INGLE_STORE"],
    });
    same(&wanted, &found).with_context(|| format!("Google is sent {version:#}"))?;
    project.all_calls_were_known()?;
    println!("app.yaml is taken, with its probes and one instance, and a wrong key is named.");
    Ok(())
}

fn same(wanted: &Value, found: &Value) -> Result<()> {
    if wanted != found {
        bail!("it was {wanted:#}\nand is {found:#}");
    }
    Ok(())
}

/// Runs a command to its end, with this on its standard input.
fn output(mut command: Command, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().with_context(|| format!("could not start {command:?}"))?;
    let mut stdin = process.stdin.take().context("it has no input")?;
    // It may end before it reads.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    process.wait_with_output().context("could not wait for it")
}

fn all(output: &Output) -> String {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}
