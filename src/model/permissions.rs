//! What an identity may do, as Azure's role assignments add up (Microsoft's documentation of role definitions). Pure: who
//! is asked, and where, is for others to know.

/// What one role assignment grants. Each list holds actions, in which `*` stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Allowed in the management plane.
    pub actions: Vec<String>,
    /// Taken away from these.
    pub not_actions: Vec<String>,
    /// Allowed with the data inside.
    pub data_actions: Vec<String>,
    /// Taken away from these.
    pub not_data_actions: Vec<String>,
}

/// What all role assignments together grant. What one takes away, another may still give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions(pub Vec<Grant>);

impl Permissions {
    /// Whether an action of the management plane is allowed.
    pub fn allow(&self, action: &str) -> bool {
        self.0.iter().any(|grant| any(&grant.actions, action) && !any(&grant.not_actions, action))
    }

    /// Whether an action with data is allowed.
    pub fn allow_data(&self, action: &str) -> bool {
        self.0.iter().any(|grant| any(&grant.data_actions, action) && !any(&grant.not_data_actions, action))
    }
}

fn any(patterns: &[String], action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    patterns.iter().any(|pattern| describes(&pattern.to_ascii_lowercase(), &action))
}

/// Whether `*` in a pattern can stand for what the text has there. What is between two stars is looked for from the left:
/// the first place that fits leaves the most for the rest.
fn describes(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(actions: &[&str], not_actions: &[&str]) -> Grant {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Grant { actions: owned(actions), not_actions: owned(not_actions), ..Grant::default() }
    }

    #[test]
    fn a_role_takes_away_only_from_itself() {
        let contributor = grant(&["*"], &["Microsoft.Authorization/*/write", "Microsoft.Authorization/*/Delete"]);
        let one = Permissions(vec![contributor.clone()]);
        assert!(one.allow("Microsoft.KeyVault/vaults/delete"));
        assert!(!one.allow("microsoft.authorization/roleAssignments/Write"));
        assert!(!one.allow_data("Microsoft.KeyVault/vaults/secrets/getSecret/action"), "another plane");
        let both = Permissions(vec![contributor, grant(&["Microsoft.Authorization/roleAssignments/*"], &[])]);
        assert!(both.allow("Microsoft.Authorization/roleAssignments/write"));
        assert!(!Permissions::default().allow("Microsoft.KeyVault/vaults/read"));
    }

    #[test]
    fn data_actions_are_their_own_and_a_question_mark_is_no_wildcard() {
        let data = |text: &str| Permissions(vec![Grant { data_actions: vec![text.to_owned()], ..Grant::default() }]);
        assert!(data("Microsoft.KeyVault/vaults/*/read").allow_data("Microsoft.KeyVault/vaults/keys/read"));
        assert!(!data("Microsoft.KeyVault/vaults/keys/read").allow_data("Microsoft.KeyVault/vaults/keys/delete"));
        assert!(data("*/vaults/*/r*d").allow_data("Microsoft.KeyVault/vaults/keys/read"));
        assert!(!data("*/keys/read/*").allow_data("Microsoft.KeyVault/vaults/keys/read"));
        assert!(!data("Microsoft.KeyVault/vaults/keys/rea?").allow_data("Microsoft.KeyVault/vaults/keys/read"));
    }
}
