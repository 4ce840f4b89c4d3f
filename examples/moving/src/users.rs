//! The users of the app. It is the same in both forms, and knows nothing of sessions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

/// What the form of the login sends.
#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    pub name: String,
    pub password: String,
}

/// Who has which password. A real app keeps a hash of each.
#[derive(Clone, Debug)]
pub struct Users(Arc<Mutex<HashMap<String, String>>>);

impl Users {
    pub fn example() -> Self {
        Self(Arc::new(Mutex::new(HashMap::from([("ada".to_owned(), "horse".to_owned())]))))
    }

    pub fn password_of(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn set_password(&self, name: &str, password: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), password);
    }

    pub fn is_right(&self, Credentials { name, password }: &Credentials) -> bool {
        self.password_of(name).is_some_and(|right| right == *password)
    }
}
