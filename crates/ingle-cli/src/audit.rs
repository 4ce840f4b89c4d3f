//! `ingle audit`: who did what, the newest first.

use ingle::operator::AuditLine;
use ingle_operator::{counted, instant};
use serde_json::{Value, json};

use crate::{
    exit::Failed,
    options::{AuditOptions, PlaceOptions},
    out::Out,
    stop::Stop,
    table::{Column, Table},
};

const COLUMNS: [Column; 7] = [
    Column { title: "AT", width: 24 },
    Column { title: "ACT", width: 7 },
    Column { title: "OUTCOME", width: 7 },
    Column { title: "OPERATOR", width: 16 },
    Column { title: "SESSION OR USER", width: 16 },
    Column { title: "FIELDS", width: 20 },
    Column { title: "FROM", width: 20 },
];

pub(crate) async fn run(
    place: &PlaceOptions,
    out: &mut Out,
    options: AuditOptions,
) -> Result<(), Failed> {
    let sessions = place.sessions().await?;
    let stop = Stop::listen();
    if options.reveal {
        sessions.note_reveal(None).await?;
    }
    let mut table = Table::begin(out, &COLUMNS)?;
    let (mut left, mut after) = (options.limit.unwrap_or(usize::MAX), None);
    let mut n_damaged = 0;
    let listed = async {
        while left > 0 {
            stop.check("the list was interrupted, and is not whole")?;
            let page = sessions.audit_log(after.as_ref()).await?;
            n_damaged += page.damaged;
            for line in page.lines.iter().take(left) {
                left -= 1;
                table.row(out, || cells(line), || json(line, options.reveal))?;
            }
            out.flush()?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        table.end(out)?;
        Ok::<(), Failed>(())
    };
    let listed = listed.await;
    if n_damaged == 0 {
        return listed;
    }
    let lines = counted(n_damaged, "line");
    let line = format!("{lines} of the audit log cannot be read, so the list is not whole");
    Err(Failed::other(line).or_earlier(listed))
}

fn cells(line: &AuditLine) -> Vec<String> {
    let whose = line.session.map(|session| session.to_string()).or_else(|| line.user.clone());
    let mut fields: Vec<&str> = line.fields.keys().map(String::as_str).collect();
    let more = format!("{} more", line.more_fields);
    if line.more_fields > 0 {
        fields.push(&more);
    }
    vec![
        instant(line.at),
        line.act.to_string(),
        line.outcome.to_string(),
        line.operator.clone(),
        whose.unwrap_or_else(|| "all".to_owned()),
        fields.join(", "),
        line.from.clone().unwrap_or_default(),
    ]
}

fn json(line: &AuditLine, reveal: bool) -> Value {
    let mut value = serde_json::to_value(line).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("at".to_owned(), json!(instant(line.at)));
        // A value that can be guessed can be told by its hash.
        if !reveal && let Some(Value::Object(named)) = fields.get_mut("fields") {
            named.values_mut().for_each(|hashes| *hashes = json!({}));
        }
    }
    value
}
