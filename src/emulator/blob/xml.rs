//! XML as Blob Storage writes it (a byte order mark, no white space, `<Empty />`) and the little that it reads. Knows
//! no blobs.

/// A document being written.
pub(super) struct Xml(String);

impl Xml {
    /// Begins a document, byte order mark and declaration included (REC: every XML body has both).
    pub(super) fn new() -> Self {
        Xml("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>".into())
    }

    /// Begins a part of a document.
    pub(super) fn part() -> Self {
        Xml(String::new())
    }

    /// `<tag a="b">`.
    pub(super) fn open(&mut self, tag: &str, attributes: &[(&str, &str)]) -> &mut Self {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
        }
        self.0.push('>');
        self
    }

    /// `</tag>`.
    pub(super) fn close(&mut self, tag: &str) -> &mut Self {
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
        self
    }

    /// `<tag>text</tag>`, or `<tag />` without text.
    pub(super) fn leaf(&mut self, tag: &str, text: &str) -> &mut Self {
        if text.is_empty() {
            self.0.push('<');
            self.0.push_str(tag);
            self.0.push_str(" />");
            return self;
        }
        self.open(tag, &[]);
        self.escaped(text);
        self.close(tag)
    }

    /// A leaf, if there is a value.
    pub(super) fn optional(&mut self, tag: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.leaf(tag, text);
        }
        self
    }

    /// A blob's name. Characters that XML cannot hold make Azure percent-encode it and say so (DOC List Blobs).
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        if name.chars().all(is_allowed) {
            return self.leaf("Name", name);
        }
        self.open("Name", &[("Encoded", "true")]);
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => self.0.push(byte.into()),
                _ => self.0.push_str(&format!("%{byte:02X}")),
            }
        }
        self.close("Name")
    }

    /// Appends what was written elsewhere with [`Xml::part`].
    pub(super) fn append(&mut self, part: Xml) -> &mut Self {
        self.0.push_str(&part.0);
        self
    }

    /// The document.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn escaped(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                letter if is_allowed(letter) => self.0.push(letter),
                _ => self.0.push('\u{fffd}'),
            }
        }
    }
}

/// Whether XML 1.0 can hold the character.
fn is_allowed(letter: char) -> bool {
    !matches!(letter, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// The children `<tag>text</tag>` of a document's only element, which must be named `root`. This is all of XML that a
/// block list needs; anything else is refused.
pub(super) fn children(document: &str, root: &str) -> Option<Vec<(String, String)>> {
    let mut rest = document.trim_start_matches('\u{feff}').trim_start();
    if let Some(declared) = rest.strip_prefix("<?xml") {
        rest = declared.split_once("?>")?.1.trim_start();
    }
    rest = rest.strip_prefix('<')?.strip_prefix(root)?;
    let (attributes, mut rest) = rest.split_once('>')?;
    if attributes.trim() == "/" {
        return rest.trim().is_empty().then(Vec::new);
    }
    let mut children = Vec::new();
    loop {
        let (tag, tail) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
        if tag.strip_prefix('/').map(str::trim_end) == Some(root) {
            return tail.trim().is_empty().then_some(children);
        }
        let (text, tail) = tail.split_once("</")?;
        rest = tail.strip_prefix(tag)?.strip_prefix('>')?;
        children.push((tag.to_owned(), text.trim().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_emptiness_is_spelled_as_azure_does() {
        let mut xml = Xml::new();
        xml.open("A", &[("b", "\"<")]).leaf("C", "x & y").leaf("D", "").name("a\u{1}/b").close("A");
        let expected = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><A b=\"&quot;&lt;\"><C>x &amp; y</C><D />\
                        <Name Encoded=\"true\">a%01%2Fb</Name></A>";
        assert_eq!(xml.finish(), expected);
    }

    #[test]
    fn a_block_list_is_read_and_nothing_else_is() {
        // go/TestBlobPutBlockListWithImmutabilityPolicy #3.
        let sent = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BlockList><Latest>AAAAAA==</Latest></BlockList>";
        assert_eq!(children(sent, "BlockList"), Some(vec![("Latest".into(), "AAAAAA==".into())]));
        assert_eq!(children("<BlockList />", "BlockList"), Some(vec![]));
        assert_eq!(children("<BlockList></BlockList>", "BlockList"), Some(vec![]));
        for bad in
            ["", "<", "<Other></Other>", "<BlockList><Latest>A</Uncommitted></BlockList>", "<BlockList><Latest>A"]
        {
            assert_eq!(children(bad, "BlockList"), None, "{bad}");
        }
    }
}
