//! Each file for a deployment through the linter of its kind, also with a typo that the linter must see.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::tools::{self, python_program, runs};
use crate::step::{self, Steps, root};

/// A file, and what checks it.
struct Checked {
    file: &'static str,
    linter: Linter,
    /// A text of the file, and the same with a typo.
    typo: (&'static str, &'static str),
}

#[derive(Clone, Copy)]
enum Linter {
    Hadolint,
    Kubernetes,
    Schema(&'static str),
    Shellcheck,
    Systemd,
}

const CHECKED: [Checked; 8] = [
    Checked { file: "Dockerfile", linter: Linter::Hadolint, typo: ("EXPOSE 8080", "EXPOSE 80800") },
    Checked {
        file: "deploy/kubernetes.yaml",
        linter: Linter::Kubernetes,
        typo: ("readinessProbe:", "readynessProbe:"),
    },
    Checked {
        file: "deploy/compose.yaml",
        linter: Linter::Schema("vendor.compose-spec"),
        typo: ("depends_on:", "depend_on:"),
    },
    Checked {
        file: "deploy/cloudbuild.yaml",
        linter: Linter::Schema("vendor.cloudbuild"),
        typo: ("args:", "arg:"),
    },
    Checked {
        file: "deploy/systemd/greetings.service",
        linter: Linter::Systemd,
        typo: ("DynamicUser=", "DynamikUser="),
    },
    Checked {
        file: "deploy/google.sh",
        linter: Linter::Shellcheck,
        typo: ("\"$bucket\"", "$bucket"),
    },
    Checked {
        file: "deploy/google/call.sh",
        linter: Linter::Shellcheck,
        typo: ("tee \"$errors\"", "tee $errors"),
    },
    Checked {
        file: "deploy/firestore/setup.sh",
        linter: Linter::Shellcheck,
        typo: ("\"$ACCOUNT\"", "$ACCOUNT"),
    },
];

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    let has_python = steps.run("linters", tools::install_linters)?;
    steps.run("files for deployments", || {
        CHECKED.iter().try_for_each(|checked| {
            let file = checked.file;
            if !checked.linter.is_there(has_python) {
                let linter = checked.linter.name();
                step::skip_part(format_args!("{file} is not checked: {linter} is not installed."));
                return Ok(());
            }
            check(checked).with_context(|| format!("{file} was not checked"))?;
            println!("{file} is clean, and {} sees a typo in it.", checked.linter.name());
            Ok(())
        })
    })
}

fn check(checked: &Checked) -> Result<()> {
    let Checked { file, linter, typo: (right, wrong) } = checked;
    let text = fs::read_to_string(root().join(file)).context("could not read it")?;
    if let Some(problem) = linter.problem(file, &text)? {
        bail!("{} says of {file}:\n{problem}", linter.name());
    }
    ensure!(text.contains(right), "it has no `{right}` to make a typo of");
    let problem = linter.problem(file, &text.replacen(right, wrong, 1))?;
    ensure!(problem.is_some(), "{} does not see the typo `{wrong}`", linter.name());
    Ok(())
}

impl Linter {
    fn name(self) -> &'static str {
        match self {
            Self::Hadolint => "hadolint",
            Self::Kubernetes => "kubernetes-validate",
            Self::Schema(_) => "check-jsonschema",
            Self::Shellcheck => "shellcheck",
            Self::Systemd => "systemd-analyze",
        }
    }

    fn is_there(self, has_python: bool) -> bool {
        match self {
            Self::Hadolint | Self::Kubernetes | Self::Schema(_) => has_python,
            Self::Shellcheck | Self::Systemd => runs(self.name(), "--version"),
        }
    }

    /// What is wrong with a file of this text, or none. A copy is checked, for the text may be another.
    fn problem(self, file: &str, text: &str) -> Result<Option<String>> {
        let folder = tempfile::tempdir().context("could not make a folder for a copy")?;
        let name = Path::new(file).file_name().context("it has no name")?;
        let copy = folder.path().join(name);
        // The program of the service is installed nowhere here.
        let text = if matches!(self, Self::Systemd) {
            text.replace("/usr/bin/greetings", "/bin/true")
        } else {
            text.to_owned()
        };
        fs::write(&copy, text).context("could not write the copy")?;
        let mut command = match self {
            Self::Shellcheck => Command::new(self.name()),
            Self::Systemd => Command::new(self.name()),
            _ => python_program(self.name()),
        };
        match self {
            // Also what only improves the style.
            Self::Hadolint => command.args(["--failure-threshold", "style"]),
            Self::Kubernetes => command.arg("--strict"),
            Self::Schema(schema) => command.args(["--builtin-schema", schema]),
            // What it sources is found from where it is itself.
            Self::Shellcheck => command
                .arg("--external-sources")
                .arg("--source-path")
                .arg(root().join(file).parent().unwrap_or(root())),
            Self::Systemd => command.args(["verify", "--man=no"]),
        };
        command.arg(&copy);
        let output =
            command.output().with_context(|| format!("could not start {}", self.name()))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        // systemd-analyze ends well with an unknown key, and tells of it.
        let is_clean =
            output.status.success() && (!matches!(self, Self::Systemd) || said.is_empty());
        Ok((!is_clean).then_some(said))
    }
}
