//! What needs a query: lists and sweeps.

use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    ArrayValue, Cursor as Start, Document, StructuredQuery, Value as Typed,
    structured_query::{
        CollectionSelector, CompositeFilter, Direction, FieldFilter, FieldReference, Filter, Order,
        Projection, composite_filter, field_filter::Operator, filter::FilterType,
    },
    value::ValueType,
};
use tonic::Status;

use super::{
    codec::{self, Entry, SHARD, SHARDS},
    connect::Client,
    fields::{EXPIRES, USER},
    plain,
    value::typed,
    write::{delete, unchanged},
};
use crate::{
    clock::Timestamp,
    record::Loaded,
    store::{Cursor, Damaged, Error, Page, Swept},
};

/// The id of a document, as a field of a query.
const ID: &str = "__name__";

/// How many writes one batch may have.
const BATCH_MAX: usize = 500;

/// Deletes what is dead, each only if it did not change since it was found.
pub(super) async fn sweep(client: &Client, now: Timestamp, limit: usize) -> Result<Swept, Status> {
    let limit = limit.min(BATCH_MAX);
    let found = find_dead(client, now, limit).await?;
    let n_found = found.len();
    // All of them have our header, whichever ids are in use by now.
    let deletes = found.into_iter().filter_map(|document| {
        let version = codec::version(document.update_time)?;
        Some(delete(document.name, Some(unchanged(version))))
    });
    let deletes: Vec<_> = deletes.collect();
    if deletes.is_empty() {
        return Ok(Swept::default());
    }
    let deleted = client.write_each(deletes).await?.iter().filter(|made| made.is_ok()).count();
    // Where none could be deleted, others are at it.
    Ok(Swept { deleted, more: n_found == limit && deleted > 0 })
}

/// The names of documents that are dead.
pub(super) async fn find_dead(
    client: &Client,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Document>, Status> {
    let shards = SHARDS.chars().map(|shard| typed(ValueType::StringValue(shard.into())));
    let shards = ValueType::ArrayValue(ArrayValue { values: shards.collect() });
    let dead = all([
        is(SHARD, Operator::In, typed(shards)),
        is(EXPIRES, Operator::LessThanOrEqual, codec::instant(now)),
    ]);
    let mut query = query(client, Some(dead), limit);
    query.select = Some(Projection { fields: vec![field(ID)] });
    client.query(query).await
}

/// A page of all records, or of a user's.
pub(super) async fn page(
    client: &Client,
    user: Option<&str>,
    after: Option<&Cursor>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Error> {
    let names = &client.names;
    let of_user =
        |user: &str| is(USER, Operator::Equal, typed(ValueType::StringValue(user.to_owned())));
    let mut after = after.map(|cursor| names.document_with_id(&cursor.0));
    let mut last = None;
    let mut page = Page::default();
    loop {
        let mut query = query(client, user.map(of_user), limit.saturating_add(1));
        query.order_by =
            vec![Order { field: Some(field(ID)), direction: Direction::Ascending.into() }];
        query.start_at = after.take().map(|name| Start {
            values: vec![typed(ValueType::ReferenceValue(name))],
            before: false,
        });
        let found = client.query(query).await;
        let found = found.map_err(|status| match user {
            Some(_) => client.server.list_of_user_failed(&status),
            None => client.server.read_failed(&status),
        })?;
        let more = found.len() > limit;
        for document in found {
            if page.len() >= limit {
                page.next = last.map(Cursor);
                return Ok(page);
            }
            after = Some(document.name.clone());
            last = names.id(&document.name).map(str::to_owned);
            if let Some(read) = listed(client, document, now) {
                page.push(read);
            }
        }
        if !more {
            return Ok(page);
        }
    }
}

/// What is in a document, if it is for a list.
fn listed(client: &Client, document: Document, now: Timestamp) -> Option<Result<Loaded, Damaged>> {
    let key = client.names.key(&document.name)?;
    let damaged = |cause: &str| {
        let (collection, handle) = (&client.names.collection, key.handle());
        let look = match plain::id(&key) {
            // Its id is the session's.
            Some(_) => {
                format!("the document in `{collection}` whose `_ingle.key` begins with {handle}")
            }
            None => format!("the document in `{collection}` whose id begins with {handle}"),
        };
        Some(Err(Damaged { key, cause: cause.to_owned(), look }))
    };
    match codec::read(document, &key) {
        Ok(Entry::Record(loaded)) if loaded.record.is_dead(now) => None,
        Ok(Entry::Record(loaded)) if loaded.record.header.key != key => {
            damaged("it was written under another key")
        }
        Ok(Entry::Record(loaded)) => Some(Ok(loaded)),
        Ok(Entry::Mark(..)) => None,
        Err(error) => damaged(&Error::from(error).cause()),
    }
}

fn query(client: &Client, filter: Option<Filter>, limit: usize) -> StructuredQuery {
    let collection_id = client.names.collection.clone();
    StructuredQuery {
        from: vec![CollectionSelector { collection_id, all_descendants: false }],
        r#where: filter,
        limit: Some(i32::try_from(limit).unwrap_or(i32::MAX)),
        ..StructuredQuery::default()
    }
}

fn field(path: &str) -> FieldReference {
    FieldReference { field_path: path.to_owned() }
}

fn is(path: &str, op: Operator, value: Typed) -> Filter {
    let filter = FieldFilter { field: Some(field(path)), op: op.into(), value: Some(value) };
    Filter { filter_type: Some(FilterType::FieldFilter(filter)) }
}

fn all<const N: usize>(filters: [Filter; N]) -> Filter {
    let op = composite_filter::Operator::And.into();
    let filter = CompositeFilter { op, filters: filters.into() };
    Filter { filter_type: Some(FilterType::CompositeFilter(filter)) }
}
