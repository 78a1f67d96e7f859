//! The file `~/.netrc`, as Python's `netrc` and so pip read it (ftp(1), "The .netrc file").

use super::credential::Credential;

/// Largest file, in bytes.
pub(crate) const MAX_NETRC: u64 = 1 << 20;

/// The credential for `host`, which has no port: that of its `machine`, else `default`. `None` without one.
#[must_use]
pub(crate) fn of_netrc(text: &str, host: &str) -> Option<Credential> {
    let mut words = Words(text);
    let mut default = None;
    while let Some(word) = words.next() {
        let is_wanted = match word.as_str() {
            "machine" => words.next()? == host,
            "default" => false,
            // A macro ends at an empty line.
            "macdef" => {
                words.0 = words.0.split_once("\n\n").map_or("", |(_, rest)| rest);
                continue;
            }
            _ => continue,
        };
        let (mut user, mut account, mut password) = (None, None, None);
        loop {
            let before = words.0;
            let value = match words.next().as_deref() {
                Some("login" | "user") => &mut user,
                Some("account") => &mut account,
                Some("password") => &mut password,
                _ => {
                    words.0 = before;
                    break;
                }
            };
            *value = Some(words.next()?);
        }
        let user = user.or(account).unwrap_or_default();
        let credential = password.map(|password| Credential::Password { user, password });
        if is_wanted {
            return credential;
        }
        if word == "default" {
            default = credential;
        }
    }
    default
}

/// The words of the file: divided by blanks, quoted with `"`, a backslash takes the next character as it is.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.strip_prefix('#') {
                Some(comment) => self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let (quoted, rest) = match self.0.strip_prefix('"') {
            Some(rest) => (true, rest),
            None => (false, self.0),
        };
        let mut word = String::new();
        let mut letters = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = letters.next() {
            match c {
                '\\' => word.extend(letters.next().map(|(_, c)| c)),
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                c if c.is_ascii_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                c => word.push(c),
            }
        }
        self.0 = &rest[end..];
        (quoted || !word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, host: &str) -> Option<(String, String)> {
        match of_netrc(text, host)? {
            Credential::Password { user, password } => Some((user, password)),
            Credential::IdentityToken(_) => None,
        }
    }

    #[test]
    fn the_machine_counts_and_then_the_default() {
        let text = "# mine\nmachine a.example.org login me password \"p w\\\"\"\nmacdef init\nmachine x password no\n\n\
            machine b.example.org\n  password s\\ #1\n  user you\ndefault login anonymous password guest\n\
            machine c.example.org login only\n";
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found(text, "a.example.org"), pair("me", "p w\""));
        assert_eq!(found(text, "b.example.org"), pair("you", "s #1"));
        assert_eq!(found(text, "x"), pair("anonymous", "guest"));
        assert_eq!(found(text, "c.example.org"), None);
        assert_eq!(found("machine a password p", "a"), pair("", "p"));
        assert_eq!(found("machine a account who password p", "a"), pair("who", "p"));
    }

    #[test]
    fn broken_files_have_nothing() {
        for text in
            ["", "machine", "machine a", "machine a login", "machine a password", "\"", "macdef x", "login me", "\\"]
        {
            assert_eq!(found(text, "a"), None, "{text}");
        }
    }
}
