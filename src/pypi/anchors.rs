//! The links of an HTML page of an index (PEP 503).
//!
//! Such a page is a list of `<a href="URL#sha256=HEX" data-yanked="REASON">FILE</a>`. Only the tags `a` are read, by the rules
//! of HTML for attributes; nothing else of a page matters.

/// A link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Anchor {
    /// `href`, decoded.
    pub(super) href: String,
    /// `data-yanked`, decoded.
    pub(super) yanked: Option<String>,
}

/// All links of a page with a target, in order.
pub(super) fn anchors(page: &str) -> impl Iterator<Item = Anchor> {
    let mut rest = page;
    std::iter::from_fn(move || {
        loop {
            let (_, tag) = rest.split_once('<')?;
            if let Some(comment) = tag.strip_prefix("!--") {
                rest = comment.split_once("-->")?.1;
                continue;
            }
            rest = tag;
            let Some(attributes) = tag.strip_prefix(['a', 'A']).filter(|rest| rest.starts_with(is_blank)) else {
                continue;
            };
            let (anchor, after) = anchor(attributes)?;
            rest = after;
            if let Some(anchor) = anchor {
                return Some(anchor);
            }
        }
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// Reads attributes up to the end of the tag. Returns the link, if the tag has a target, and the text after the tag; `None`
/// where the page ends first.
fn anchor(mut rest: &str) -> Option<(Option<Anchor>, &str)> {
    let (mut href, mut yanked) = (None, None);
    loop {
        rest = rest.trim_start_matches(|c| is_blank(c) || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((href.map(|href| Anchor { href, yanked }), after));
        }
        let end = rest.find(|c| is_blank(c) || matches!(c, '=' | '>' | '/'))?;
        // A name may begin with an equals sign.
        let end = if end == 0 { 1 } else { end };
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start_matches(is_blank);
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = value_of(after.trim_start_matches(is_blank))?;
        }
        // Of two attributes with one name the first counts.
        match name.as_str() {
            "href" => href = href.or_else(|| Some(decoded(value))),
            "data-yanked" => yanked = yanked.or_else(|| Some(decoded(value))),
            _ => {}
        }
    }
}

/// The value of an attribute, and the text after it.
fn value_of(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote);
        }
    }
    let end = text.find(|c| is_blank(c) || c == '>')?;
    Some(text.split_at(end))
}

/// Replaces the references to characters that indexes write.
fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest is &#x10FFFF; and names are shorter.
        let end = rest.bytes().take(12).position(|c| c == b';');
        let found = end.and_then(|end| Some((character(&rest[1..end])?, &rest[end + 1..])));
        let (c, after) = found.unwrap_or(('&', &rest[1..]));
        out.push(c);
        rest = after;
    }
    out + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(page: &str) -> Vec<(String, Option<String>)> {
        anchors(page).map(|anchor| (anchor.href, anchor.yanked)).collect()
    }

    #[test]
    fn links_in_all_spellings() {
        let page = "<!DOCTYPE html><html><body><h1>Links</h1><abbr href='no'></abbr><!-- <a href='no'> -->\n\
            <a href=\"../a.whl#sha256=1\" data-requires-python=\"&gt;=3.5\">a.whl</a><br>\n\
            <A class=x data-yanked HREF = '/b.whl?x=1&amp;y=&#50;&#x33;&unknown;&' href='no'/>b</A>\n\
            <a href=c.whl data-yanked=\"it &lt;breaks&gt;\">c</a><a name=d>d</a><a\nhref=\"e'>.whl\">e</a>";
        let want = [
            ("../a.whl#sha256=1", None),
            ("/b.whl?x=1&y=23&unknown;&", Some("")),
            ("c.whl", Some("it <breaks>")),
            ("e'>.whl", None),
        ];
        assert_eq!(all(page), want.map(|(href, yanked)| (href.to_owned(), yanked.map(str::to_owned))));
    }

    #[test]
    fn broken_pages_end_early() {
        for page in ["", "<", "<a", "<a ", "<a href", "<a href=", "<a href='x", "<!-- ", "<a href='x' ", "a>b", "<a =>"]
        {
            assert_eq!(all(page), [], "{page}");
        }
        // Linear in the length of the page.
        let many = "<a href='x".repeat(200_000);
        assert!(all(&many).len() <= 200_000);
    }
}
