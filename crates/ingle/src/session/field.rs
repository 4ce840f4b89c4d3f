//! One top-level field of a session's data, as its own type.

use std::convert::Infallible;

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Session, checked};

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
    pub async fn try_update<T, R, E, F>(self, change: F) -> Result<Result<R, E>, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut T) -> Result<R, E> + Send + 'static,
    {
        let name = checked(self.name)?;
        self.session.transact_on(Some(name), change).await
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
