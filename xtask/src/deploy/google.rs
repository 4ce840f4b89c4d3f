//! `deploy/google.sh` as people run it, with the real `gcloud`, against the fake of Google.
//!
//! What cannot be seen here is whether Google's servers take what `gcloud` sends.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

use std::{
    fs,
    io::Write as _,
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
        println!("\ngcloud is not installed: Cloud Run is not tried.");
        return Ok(());
    }
    steps.run("Cloud Run, on a fake of Google", cloud_run)?;
    steps.run("what was there before, on a fake of Google", what_was_there)?;
    steps.run("what Google refuses, on a fake of it", refusals)
}

pub(super) fn on_app_engine(steps: &mut Steps) -> Result<()> {
    if !tools::has_gcloud() {
        println!("\ngcloud is not installed: App Engine is not tried.");
        return Ok(());
    }
    steps.run("app.yaml, on a fake of Google", app_yaml)?;
    steps.run("App Engine, on a fake of Google", app_engine)
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
    fn mend(&self, task: &str) -> Result<String> {
        let output = self.script(task, ON_CLOUD_RUN, "")?;
        ensure!(!output.status.success(), "`{SCRIPT} {task}` went well:\n{}", all(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().last().map(str::to_owned).context("it said nothing")
    }

    fn all_calls_were_known(&self) -> Result<()> {
        let unknown = self.google.unknown();
        ensure!(unknown.is_empty(), "the fake does not know these calls of gcloud: {unknown:#?}");
        Ok(())
    }
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
    let mend = project.mend("up")?;
    ensure!(
        mend.contains("set APP to another name"),
        "the service of somebody else is not spared: {mend}"
    );
    project.all_calls_were_known()?;
    println!("What was there before stays.");
    Ok(())
}

fn refusals() -> Result<()> {
    let project = Project::new()?;
    put_database(&project, "DATASTORE_MODE");
    let mend = project.mend("up")?;
    ensure!(mend.contains("To mend: set DATABASE"), "a database in Datastore mode: {mend}");
    println!("In Datastore mode: {mend}");
    for api in ["serviceusage", "storage", "firestore", "iam", "artifactregistry", "run"] {
        let project = Project::new()?;
        project.google.refuse(api);
        let mend = project.mend("up")?;
        let command = format!("gcloud projects add-iam-policy-binding {PROJECT}");
        ensure!(
            mend.starts_with("To mend") && mend.contains(&command),
            "where {api} refuses: {mend}"
        );
    }
    println!("Where a call is refused, the last line names the role.");
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
    project.well("open", ON_APP_ENGINE, "")?;
    project.well("logs", ON_APP_ENGINE, "")?;
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

/// As the tutorial does it: `gcloud app deploy` beside app.yaml.
fn app_yaml() -> Result<()> {
    let project = Project::new()?;
    let text = fs::read_to_string(root().join("app.yaml")).context("could not read app.yaml")?;
    let deploy = |text: &str| {
        let folder = tempfile::tempdir().context("could not make a folder for app.yaml")?;
        fs::write(folder.path().join("app.yaml"), text.replace("my-project", PROJECT))
            .context("could not write it")?;
        let mut gcloud = project.command("gcloud");
        gcloud.args([
            "app",
            "deploy",
            "--quiet",
            "--version=v1",
            "--image-url=europe-west1-docker.pkg.dev/demo-project/greetings/greetings:1",
        ]);
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
    let version = &contents[format!("appengine/apps/{PROJECT}/services/default/versions/v1")];
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
