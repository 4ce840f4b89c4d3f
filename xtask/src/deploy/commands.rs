//! Every command of `gcloud` in pages, scripts and messages, through gcloud's own linter.
//!
//! It needs no network and no account: it knows each command, its flags and which must be given. It
//! cannot know whether Google does what the command says.

use std::{collections::BTreeMap, fs, iter::Peekable, mem, process::Command, str::Chars};

use anyhow::{Context as _, Result, bail, ensure};
use proc_macro2::{TokenStream, TokenTree};
use serde_json::{Value, json};

use crate::{
    step::{self, Steps, capture, root},
    tracked,
};

/// What calls gcloud in pages and messages, with the words that follow.
const GCLOUD: &[&str] = &["gcloud"];

/// The same in our own scripts, where functions pass words on.
const IN_SCRIPTS: &[&str] = &["gcloud", "google", "is_there", DELETE_ONE];

/// The first word that follows is no word for gcloud.
const DELETE_ONE: &str = "delete_one";

/// What the shell or `format!` would put in.
const EXAMPLE: &str = "example";

/// What any word will not do for, and what it may be instead.
const EXAMPLES: [(&str, &str); 6] = [
    ("\"${of_collection[@]}\"", "--database=example --collection-group=example"),
    ("$email", "example@my-project.iam.gserviceaccount.com"),
    ("HOST:PORT", "localhost:8080"),
    ("=PROJECT", "=my-project"),
    // The linter wants a file in the place of the standard input.
    ("replace - ", "replace deploy/cloudbuild.yaml "),
    ("\\\n", ""),
];

/// A command that gcloud does not have: the linter must see it.
const TYPO: &str = "gcloud run services lst --region=europe-west1";

pub(super) fn run(steps: &mut Steps) -> Result<()> {
    steps.run("commands of gcloud", || {
        if !super::tools::has_gcloud() {
            step::skip("gcloud is not installed: no command of it is checked.");
            return Ok(());
        }
        check()
    })
}

fn check() -> Result<()> {
    let mut commands = BTreeMap::new();
    for path in tracked::files()? {
        let text = || {
            fs::read_to_string(root().join(&path)).with_context(|| format!("could not read {path}"))
        };
        let found = match path.rsplit_once('.').map(|(_, kind)| kind) {
            Some("md") => in_page(&text()?),
            Some("sh") => in_code(&text()?, IN_SCRIPTS),
            // What is said by programs for users. Tests look for parts of commands.
            Some("rs") if path.starts_with("crates/") && !path.contains("tests") => {
                in_source(&text()?)
            }
            _ => continue,
        };
        for command in found {
            commands.entry(command).or_insert_with(Vec::new).push(path.clone());
        }
    }
    ensure!(!commands.is_empty(), "no command of gcloud was found, so none was checked");
    let all = commands.keys().map(String::as_str).chain([TYPO]).collect::<Vec<_>>();
    let mut flagged = lint(&all)?;
    ensure!(flagged.remove(TYPO).is_some(), "the linter does not see that `{TYPO}` is wrong");
    if !flagged.is_empty() {
        let line = |(command, problem): (&String, &String)| {
            format!(
                "{}: `{command}`: {problem}",
                commands.get(command).map(|paths| paths.join(", ")).unwrap_or_default()
            )
        };
        bail!(
            "gcloud does not take these:\n{}",
            flagged.iter().map(line).collect::<Vec<_>>().join("\n")
        );
    }
    println!("gcloud takes all {} commands, and not one with a typo.", commands.len());
    Ok(())
}

/// Those that are wrong, with what is wrong.
fn lint(commands: &[&str]) -> Result<BTreeMap<String, String>> {
    let folder = tempfile::tempdir().context("could not make a folder for gcloud")?;
    let file = folder.path().join("commands.json");
    let list: Vec<_> =
        commands.iter().map(|command| json!({ "command_string": command })).collect();
    fs::write(&file, json!(list).to_string()).context("could not write the commands")?;
    let mut gcloud = Command::new("gcloud");
    gcloud.args(["meta", "lint-gcloud-commands", "--commands-file"]).arg(&file);
    gcloud.current_dir(root()).env("CLOUDSDK_CONFIG", folder.path());
    let printed: Value =
        serde_json::from_str(&capture(gcloud)?).context("could not read what gcloud says")?;
    let results = printed.as_array().context("gcloud did not print a list")?;
    let result = |command: &str| results.iter().find(|result| result["command_string"] == command);
    let problem = |command: &str| match result(command) {
        Some(result) if result["success"] == true => None,
        Some(result) => Some(result["error_message"].to_string()),
        None => Some("the linter does not tell of it".to_owned()),
    };
    let flagged =
        commands.iter().filter_map(|command| Some(((*command).to_owned(), problem(command)?)));
    Ok(flagged.collect())
}

/// In the blocks for the shell, and in code within sentences.
fn in_page(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (at, block) in text.split("```").enumerate() {
        if at % 2 == 0 {
            commands.extend(in_ticks(block));
            continue;
        }
        let (language, code) = block.split_once('\n').unwrap_or_default();
        if ["sh", "console", "bash"].contains(&language.trim()) {
            commands.extend(in_code(code, GCLOUD));
        }
    }
    commands
}

/// Commands between backticks.
fn in_ticks(text: &str) -> Vec<String> {
    let code = text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("gcloud "));
    code.flat_map(|code| in_code(&code.replace('\n', " "), GCLOUD)).collect()
}

/// In the texts of a program, and in what is said of its parts. Its tests, which look for parts of
/// commands, are left out.
fn in_source(text: &str) -> Vec<String> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut texts = Vec::new();
    if let Ok(tokens) = product.parse::<TokenStream>() {
        literals(tokens, &mut texts);
    }
    let mut commands = Vec::new();
    for text in texts {
        let text = without_fields(&text);
        let is_command = text.starts_with("gcloud ");
        commands.extend(if is_command { in_code(&text, GCLOUD) } else { in_ticks(&text) });
    }
    commands
}

fn literals(tokens: TokenStream, texts: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), texts),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                texts.extend(text.map(|text| text.value()));
            }
            _ => {}
        }
    }
}

/// A text of `format!` with an example in the place of each field.
fn without_fields(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| match part.split_once('}') {
        Some((_, rest)) => format!("{text}{EXAMPLE}{rest}"),
        None => text + part,
    })
}

fn in_code(text: &str, callers: &[&str]) -> Vec<String> {
    let mut text = text.to_owned();
    for (word, example) in EXAMPLES {
        text = text.replace(word, example);
    }
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.flat_map(|line| in_line(line, callers)).collect()
}

/// The commands of a line, which may stand within others.
fn in_line(line: &str, callers: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    for caller in callers {
        for (at, _) in line.match_indices(caller) {
            let (before, rest) = line.split_at(at);
            // What is said to people is no command.
            let is_said = before.contains("echo ") && !before.contains("$(");
            let begins = before.is_empty() || before.ends_with([' ', '(']);
            if is_said || !begins || !rest.starts_with(&format!("{caller} ")) {
                continue;
            }
            let words = words(rest);
            let own = 1 + usize::from(*caller == DELETE_ONE);
            let words = words.get(own..).unwrap_or_default();
            // A function passes on what others say.
            if words.first().is_some_and(|word| word != EXAMPLE) {
                commands.push(format!("gcloud {}", words.join(" ")));
            }
        }
    }
    commands
}

/// The words of a command of the shell, up to what ends it.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (Some(open), _) if open == sign => quote = None,
            (None, '\'' | '"') => quote = Some(sign),
            (None | Some('"'), '$') => {
                skip_expansion(&mut signs);
                word.push_str(EXAMPLE);
            }
            (None, ' ') => words.push(mem::take(&mut word)),
            (None, '|' | ';' | '&' | '<' | '>' | ')') => {
                // The number of a stream that is sent elsewhere.
                if word == "2" {
                    word.clear();
                }
                break;
            }
            _ => word.push(sign),
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty()).map(quoted).collect()
}

/// Goes on behind a variable or a command that the shell would put in.
fn skip_expansion(signs: &mut Peekable<Chars<'_>>) {
    let (open, close) = match signs.peek() {
        Some('{') => ('{', '}'),
        Some('(') => ('(', ')'),
        Some('@') => {
            signs.next();
            return;
        }
        _ => {
            while signs.next_if(|sign| sign.is_ascii_alphanumeric() || *sign == '_').is_some() {}
            return;
        }
    };
    let mut depth = 0_usize;
    for sign in signs {
        depth += usize::from(sign == open);
        if sign == close {
            depth -= 1;
            if depth == 0 {
                return;
            }
        }
    }
}

/// A word as the linter reads it.
fn quoted(word: String) -> String {
    if !word.contains([' ', '(', '*', '"', '\'']) {
        return word;
    }
    // A flag must be seen as one.
    match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => format!("{flag}='{value}'"),
        _ => format!("'{word}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_pages_scripts_and_messages() {
        let page = "Say `gcloud auth login` or\n```sh\n# gcloud no command\nA=1\n\
                    gcloud run deploy \"$A\" \\\n  --image='a b' | cat\n```\n";
        assert_eq!(in_page(page), ["gcloud auth login", "gcloud run deploy example --image='a b'"]);
        let script = "if ! said=$(google projects list 2>&1); then\n\
                      delete_one images run services delete \"${A%%-*}\" >&2\n\
                      echo \"gcloud is not called\"\n  gcloud \"$@\" --quiet\n";
        let found = in_code(script, IN_SCRIPTS);
        assert_eq!(found, ["gcloud projects list", "gcloud run services delete example"]);
        let source = "fn a() { format!(\"run `gcloud services enable a --project={project}` \\\n  \
                      again, with gcloud\") }";
        assert_eq!(in_source(source), ["gcloud services enable a --project=example"]);
    }
}
