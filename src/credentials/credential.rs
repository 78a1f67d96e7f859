//! What authenticates a user at a registry.

use std::fmt;

/// What shows a registry who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password, or what a registry calls an access token.
        password: String,
    },
    /// An `OAuth2` refresh token, which docker calls identity token.
    IdentityToken(String),
}

/// Without the secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { .. } => f.write_str("Password(…)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}
