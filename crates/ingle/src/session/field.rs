//! One top-level field of a session's data, as its own type.

use std::convert::Infallible;

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Session, checked, work::Id};
use crate::data::typed::{self, View};

/// One top-level field of the data. Made by [`Session::field`].
#[derive(Debug)]
pub struct Field<'a> {
    pub(super) session: &'a Session,
    pub(super) name: String,
}

impl Field<'_> {
    /// Changes the field in one transaction; see [`Session::update`].
    ///
    /// A field that is not there is `T::default()`. What other requests change in other fields
    /// meanwhile is kept.
    ///
    /// # Errors
    /// As [`Session::update`].
    pub async fn update<T, R, F>(self, mut change: F) -> Result<R, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        F: FnMut(&mut T) -> R + Send + 'static,
    {
        let done = self.try_update(move |view: &mut T| Ok::<R, Infallible>(change(view))).await?;
        done.map_err(|never| match never {})
    }

    /// Changes the field in one transaction. Where `change` returns `Err`, it changes nothing; see
    /// [`Session::try_update`].
    ///
    /// # Errors
    /// As [`Session::update`].
    pub async fn try_update<T, R, E, F>(self, mut change: F) -> Result<Result<R, E>, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut T) -> Result<R, E> + Send + 'static,
    {
        let name = checked(self.name)?;
        let limits = self.session.shared.policy().limits;
        self.session
            .transact(
                move |draft| {
                    let (data, stored) = (draft.stored(), draft.get(&name));
                    let mut view = typed::from_field::<T>(&name, stored)?;
                    let look = |view: &T| {
                        let look = limits
                            .with_room_for(data, |limits| View::of_field(view, stored, limits));
                        look.map_err(|error| error.under(&name))
                    };
                    let before = look(&view)?;
                    let result = change(&mut view);
                    if result.is_ok()
                        && let Some(value) = before.change(look(&view)?, stored)
                    {
                        draft.set(name.clone(), Some(value));
                    }
                    Ok(result)
                },
                Id::Keep,
            )
            .await
    }

    /// Reads the field; see [`Session::get`].
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn get<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.session.get(&self.name).await
    }

    /// Sets the field; see [`Session::insert`].
    ///
    /// # Errors
    /// As [`Session::insert`].
    pub fn insert<T: Serialize>(self, value: T) -> Result<(), Error> {
        self.session.insert(self.name, value)
    }

    /// Removes the field; see [`Session::remove`].
    ///
    /// # Errors
    /// As [`Session::remove`].
    pub fn remove(self) -> Result<(), Error> {
        self.session.remove(self.name)
    }
}
