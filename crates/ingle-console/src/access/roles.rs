//! Which role a value gives: a name, or what a claim says of somebody.

use std::collections::BTreeMap;

use super::{InvalidAccess, Role};

/// Which role each of some values gives. A value is a name, or one of a claim, letter by letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleTable(BTreeMap<String, Role>);

impl RoleTable {
    /// A table of these rows.
    ///
    /// # Errors
    /// It has no row, or one without a value, or two roles for one value.
    pub fn new<V: Into<String>>(
        rows: impl IntoIterator<Item = (Role, V)>,
    ) -> Result<Self, InvalidAccess> {
        let mut table = BTreeMap::new();
        for (role, value) in rows {
            let value = value.into();
            if value.is_empty() {
                return Err(InvalidAccess::new("a role is given to no value: name one"));
            }
            if table.get(&value).is_some_and(|other| *other != role) {
                let text = format!("two roles are given to {value:?}: keep one");
                return Err(InvalidAccess::new(text));
            }
            table.insert(value, role);
        }
        if table.is_empty() {
            return Err(InvalidAccess::new("nobody has a role: give one to somebody"));
        }
        Ok(Self(table))
    }

    /// The highest role that one of these values gives.
    pub(crate) fn role<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Option<Role> {
        values.into_iter().filter_map(|value| self.0.get(value)).max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_counts_and_no_other_spelling_gives_one() {
        let rows = [(Role::Viewer, "staff"), (Role::Editor, "sre"), (Role::Operator, "support")];
        let table = RoleTable::new(rows).unwrap();
        assert_eq!(table.role(["staff", "sre", "support"]), Some(Role::Editor));
        assert_eq!(table.role(["support", "unknown"]), Some(Role::Operator));
        for other in ["", "SRE", "sre ", "sr", "sre,staff"] {
            assert_eq!(table.role([other]), None, "{other}");
        }
        assert_eq!(table.role([]), None);
    }

    #[test]
    fn a_table_that_lets_nobody_in_or_contradicts_itself_cannot_be_made() {
        let none: [(Role, &str); 0] = [];
        assert!(RoleTable::new(none).is_err());
        assert!(RoleTable::new([(Role::Viewer, "")]).is_err());
        assert!(RoleTable::new([(Role::Viewer, "ada"), (Role::Editor, "ada")]).is_err());
        assert!(RoleTable::new([(Role::Viewer, "ada"), (Role::Viewer, "ada")]).is_ok());
    }
}
