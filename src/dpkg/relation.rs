//! Relations between packages, as `Depends`, `Provides` and other fields state them (Debian policy, §7.1).

use std::str::FromStr;

use crate::dpkg::architecture::is_architecture;
use crate::dpkg::{Architecture, PackageName, Version};
use crate::hint::Hint;
use crate::visible::shortened;

/// Longest field, in bytes. The longest in Debian 12 has 76 kB.
const MAX_LENGTH: usize = 1 << 20;

/// One alternative of a dependency: `name:any (>= 1) [amd64 arm64] <!nocheck>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// A package, or what packages provide.
    pub name: PackageName,
    /// The architecture that the package must be of, after a colon.
    pub qualifier: Option<Qualifier>,
    /// The versions that fit. In `Provides` it is the version of what is provided.
    pub constraint: Option<Constraint>,
    /// For which architectures the relation holds; for all if there is none.
    pub architectures: Vec<ArchitectureRestriction>,
    /// With which build profiles it holds: if all of one inner list are met; always if there is none.
    pub profiles: Vec<Vec<Profile>>,
}

/// Relations of which one suffices, in the order of preference: `a | b`.
pub type Dependency = Vec<Relation>;

/// The architecture that a related package must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualifier {
    /// `:any`, for packages with `Multi-Arch: allowed`.
    Any,
    /// `:native`, in sources.
    Native,
    /// `:arm64`
    Architecture(Architecture),
}

/// Versions that fit a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    pub operator: Operator,
    pub version: Version,
}

/// How a version must compare with that of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>>`
    Greater,
}

/// An architecture or wildcard in brackets, `[amd64 !linux-any]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchitectureRestriction {
    pub is_negated: bool,
    pub pattern: Box<str>,
}

/// A build profile, `<!nocheck cross>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub is_negated: bool,
    pub name: Box<str>,
}

/// A text that is not a list of relations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid package relation '{text}': {why}")]
pub struct ParseRelationError {
    text: String,
    why: &'static str,
}

impl Hint for ParseRelationError {}

impl Constraint {
    /// Whether `version` fits.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Greater => order.is_gt(),
        }
    }
}

impl Relation {
    /// Whether the relation holds on `architecture`, without build profiles. If the list excludes architectures, it holds on
    /// all others.
    #[must_use]
    pub fn applies_to(&self, architecture: &Architecture) -> bool {
        let matched = self.architectures.iter().find(|restriction| architecture.matches(&restriction.pattern));
        let fits = match matched {
            Some(restriction) => !restriction.is_negated,
            None => self.architectures.iter().all(|restriction| restriction.is_negated),
        };
        let without_profiles = |list: &Vec<Profile>| list.iter().all(|profile| profile.is_negated);
        fits && (self.profiles.is_empty() || self.profiles.iter().any(without_profiles))
    }
}

/// The dependencies of a field, all of which must be met. Lines of a folded field may be in it; an empty field has none.
///
/// # Errors
/// Any relation that is malformed, or a field longer than 1 MiB.
pub fn parse_relations(field: &str) -> Result<Vec<Dependency>, ParseRelationError> {
    if field.len() > MAX_LENGTH {
        return Err(ParseRelationError { text: shortened(field, 100), why: "the field is longer than 1 MiB" });
    }
    // dpkg-gencontrol leaves a comma at the end where substitution variables were empty.
    let dependencies = field.split(',').filter(|text| !text.trim().is_empty());
    dependencies.map(|text| text.split('|').map(str::parse).collect()).collect()
}

/// Cuts `open`…`close` off the beginning of `text`; `None` if it does not close.
fn bracketed<'a>(text: &mut &'a str, open: char, close: char) -> Option<&'a str> {
    let (inside, rest) = text.strip_prefix(open)?.split_once(close)?;
    *text = rest.trim_start();
    Some(inside.trim())
}

fn negatable(word: &str) -> (bool, &str) {
    word.strip_prefix('!').map_or((false, word), |rest| (true, rest))
}

impl FromStr for Relation {
    type Err = ParseRelationError;

    /// One relation, without `|` and `,`.
    fn from_str(text: &str) -> Result<Self, ParseRelationError> {
        let fail = |why| ParseRelationError { text: shortened(text.trim(), 100), why };
        let mut rest = text.trim();
        let end = rest.find([' ', '\t', '\n', '(', '[', '<']).unwrap_or(rest.len());
        let (name, qualifier) = rest[..end].split_once(':').map_or((&rest[..end], None), |(name, of)| (name, Some(of)));
        rest = rest[end..].trim_start();
        let mut relation = Self {
            name: name.parse().map_err(|_| fail("expected the name of a package"))?,
            qualifier: match qualifier {
                None => None,
                Some("any") => Some(Qualifier::Any),
                Some("native") => Some(Qualifier::Native),
                Some(other) => {
                    let architecture = other.parse().map_err(|_| fail("expected an architecture after ':'"))?;
                    Some(Qualifier::Architecture(architecture))
                }
            },
            constraint: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        };
        if rest.starts_with('(') {
            let inside = bracketed(&mut rest, '(', ')').ok_or_else(|| fail("expected ')' after the version"))?;
            relation.constraint = Some(inside.parse().map_err(fail)?);
        }
        if rest.starts_with('[') {
            let inside = bracketed(&mut rest, '[', ']').ok_or_else(|| fail("expected ']' after the architectures"))?;
            for (is_negated, pattern) in inside.split_ascii_whitespace().map(negatable) {
                if !is_architecture(pattern) {
                    return Err(fail("expected an architecture between '[' and ']'"));
                }
                relation.architectures.push(ArchitectureRestriction { is_negated, pattern: pattern.into() });
            }
        }
        while rest.starts_with('<') {
            let inside = bracketed(&mut rest, '<', '>').ok_or_else(|| fail("expected '>' after the build profiles"))?;
            let mut list = Vec::new();
            for (is_negated, name) in inside.split_ascii_whitespace().map(negatable) {
                if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c)) {
                    return Err(fail("expected a build profile between '<' and '>'"));
                }
                list.push(Profile { is_negated, name: name.into() });
            }
            relation.profiles.push(list);
        }
        if rest.is_empty() { Ok(relation) } else { Err(fail("expected '|' or ',' after the relation")) }
    }
}

impl FromStr for Constraint {
    type Err = &'static str;

    /// What is between the parentheses: `>= 1`. dpkg's old operators `<` and `>` are refused: they mean `<=` and `>=`.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let end = text.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(text.len());
        let operator = match &text[..end] {
            "<<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            "=" => Operator::Equal,
            ">=" => Operator::GreaterOrEqual,
            ">>" => Operator::Greater,
            _ => return Err("expected one of << <= = >= >> before the version"),
        };
        let version = text[end..].trim().parse().map_err(|_| "expected a version in the parentheses")?;
        Ok(Self { operator, version })
    }
}

impl std::fmt::Display for Relation {
    /// Name, architecture and version, as in the field; restrictions are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        match &self.qualifier {
            None => {}
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Native) => f.write_str(":native")?,
            Some(Qualifier::Architecture(architecture)) => write!(f, ":{architecture}")?,
        }
        match &self.constraint {
            Some(Constraint { operator, version }) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Less => "<<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">>",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;

    #[test]
    fn a_field_with_everything() {
        let field = "aa (>= 1:2~) | bb:any [arm64 !amd64] <!nocheck> <cross stage1>,\n cc(=3) ,dd:arm64,";
        let dependencies = parse_relations(field).unwrap();
        let texts: Vec<Vec<_>> = dependencies.iter().map(|of| of.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(texts, [vec!["aa (>= 1:2~)", "bb:any"], vec!["cc (= 3)"], vec!["dd:arm64"]]);
        let bb = &dependencies[0][1];
        assert_eq!(bb.qualifier, Some(Qualifier::Any));
        let restrictions: Vec<_> = bb.architectures.iter().map(|one| (one.is_negated, &*one.pattern)).collect();
        assert_eq!(restrictions, [(false, "arm64"), (true, "amd64")]);
        let profiles: Vec<Vec<_>> =
            bb.profiles.iter().map(|list| list.iter().map(|one| (one.is_negated, &*one.name)).collect()).collect();
        assert_eq!(profiles, [vec![(true, "nocheck")], vec![(false, "cross"), (false, "stage1")]]);
        assert_eq!(parse_relations("").unwrap(), Vec::<Dependency>::new());
    }

    #[test]
    fn constraints_accept_versions() {
        for (operator, fitting) in [("<<", "1"), ("<=", "1 2"), ("=", "2"), (">=", "2 3"), (">>", "3")] {
            let constraint: Constraint = format!("{operator} 2").parse().unwrap();
            for version in ["1", "2", "3"] {
                let accepted = constraint.accepts(&version.parse().unwrap());
                assert_eq!(accepted, fitting.contains(version), "{version} {operator} 2");
            }
        }
    }

    #[test]
    fn restrictions_decide_where_a_relation_holds() {
        let holds = |text: &str| text.parse::<Relation>().unwrap().applies_to(&Architecture::of(Platform::ArmV7));
        for text in ["aa", "aa [armhf]", "aa [any-arm i386]", "aa [!i386]", "aa <!nocheck>", "aa <cross> <!nocheck>"] {
            assert!(holds(text), "{text}");
        }
        for text in ["aa [i386]", "aa [!armhf]", "aa [!linux-any]", "aa <cross>", "aa [armhf] <!nocheck cross>"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn malformed_relations_are_refused() {
        for bad in [
            "a",
            "aa bb",
            "aa | | bb",
            "| aa",
            "aa (",
            "aa ()",
            "aa (1)",
            "aa (> 1)",
            "aa (< 1)",
            "aa (== 1)",
            "aa (>= 1",
            "aa (>= 1) (<< 2)",
            "aa (>= 1 2)",
            "aa:",
            "aa:any:any",
            "aa:linux-any",
            "aa [",
            "aa [amd64/x]",
            "aa <",
            "aa <a/b>",
            "aa [amd64] (>= 1)",
            "äa",
            "a\u{1b}a",
        ] {
            assert!(parse_relations(bad).is_err(), "accepted {bad:?}");
        }
        assert!(parse_relations(&" ".repeat(MAX_LENGTH + 1)).is_err());
    }
}
