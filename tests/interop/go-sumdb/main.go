// Judges archives by what golang.org/x/mod/sumdb makes of them, knowing docs/FORMAT.md and nothing of ours:
// signatures and keys by note, and every root, inclusion and consistency by tlog.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

var passed, failed int

// check counts one check; found and expected are compared as they print.
func check(what string, found, expected interface{}) {
	f, e := fmt.Sprint(found), fmt.Sprint(expected)
	if f == e {
		passed++
		return
	}
	failed++
	fmt.Printf("go-sumdb: FAILED: %s\n  expected %s\n  found    %s\n", what, e, f)
}

// must stops at what no check can go on without.
func must(err error) {
	if err != nil {
		fmt.Printf("go-sumdb: FAILED: %v\ngo-sumdb: %d passed, %d failed, 0 skipped\n", err, passed, failed+1)
		os.Exit(1)
	}
}

// tree is a tlog tree held in memory.
type tree struct {
	hashes []tlog.Hash
	leaves int64
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found[i] = t.hashes[index]
	}
	return found, nil
}

func (t *tree) add(leaf []byte) {
	more, err := tlog.StoredHashes(t.leaves, leaf, t)
	must(err)
	t.hashes = append(t.hashes, more...)
	t.leaves++
}

func (t *tree) root(size int64) tlog.Hash {
	root, err := tlog.TreeHash(size, t)
	must(err)
	return root
}

// frontier is the roots of the complete subtrees that the first size leaves make, largest first.
func (t *tree) frontier(size int64) []string {
	roots := []string{}
	var before int64
	for level := 62; level >= 0; level-- {
		if size&(1<<uint(level)) != 0 {
			hash := t.hashes[tlog.StoredHashIndex(level, before>>uint(level))]
			roots = append(roots, hex.EncodeToString(hash[:]))
			before += 1 << uint(level)
		}
	}
	return roots
}

// included checks that tlog proves leaf number n of the tree of this size and root, and proves nothing else by it.
func (t *tree) included(what string, size, n int64, leaf []byte, root tlog.Hash) {
	proof, err := tlog.ProveRecord(size, n, t)
	must(err)
	check(what+": inclusion of leaf "+strconv.FormatInt(n, 10), tlog.CheckRecord(proof, size, root, n, tlog.RecordHash(leaf)), nil)
	other := append([]byte{' '}, leaf...)
	check(what+": no other leaf passes", tlog.CheckRecord(proof, size, root, n, tlog.RecordHash(other)) != nil, true)
}

// entry is what this judge reads of an entry line.
type entry struct {
	Sequence int64
	Frontier []string
	Event    struct {
		Type, Manifest, Root string
		Lines                int
	}
}

// vault judges one log and the manifests that it names.
func vault(name, folder, host string, verifier note.Verifier, signer note.Signer) {
	paths, err := filepath.Glob(filepath.Join(folder, "vaults", host, "log", "*"))
	must(err)
	sort.Strings(paths)
	check(name+": entries in the log", len(paths), 8)
	log := &tree{}
	var roots []tlog.Hash
	var leaves [][]byte
	for i, path := range paths {
		n := int64(i + 1)
		what := fmt.Sprintf("%s, log file %d", name, n)
		check(what+": its name", filepath.Base(path), fmt.Sprintf("%010d", n))
		file, err := os.ReadFile(path)
		must(err)
		cut := bytes.Index(file, []byte("\n\n"))
		check(what+": an entry and a note", cut > 0, true)
		leaf, text := file[:cut], file[cut+2:]

		opened, err := note.Open(text, note.VerifierList(verifier))
		check(what+": note.Open", err, nil)
		if err != nil {
			continue
		}
		check(what+": signatures verified, unverified", fmt.Sprint(len(opened.Sigs), len(opened.UnverifiedSigs)), "1 0")
		again, err := note.Sign(&note.Note{Text: opened.Text}, signer)
		check(what+": Go, with our signer key, writes the same note", err == nil && bytes.Equal(again, text), true)
		forged := bytes.Replace(text, []byte("\n"+strconv.FormatInt(n, 10)+"\n"), []byte("\n"+strconv.FormatInt(n+1, 10)+"\n"), 1)
		_, err = note.Open(forged, note.VerifierList(verifier))
		check(what+": another size is not signed", err != nil, true)

		var e entry
		must(json.Unmarshal(leaf, &e))
		check(what+": sequence", e.Sequence, n)
		check(what+": frontier", e.Frontier, log.frontier(n-1))
		log.add(leaf)
		leaves = append(leaves, leaf)
		lines := strings.Split(opened.Text, "\n")
		check(what+": lines of the checkpoint", len(lines), 4)
		check(what+": origin", lines[0], verifier.Name()+"/"+host)
		check(what+": size", lines[1], n)
		signed, err := base64.StdEncoding.DecodeString(lines[2])
		must(err)
		var root tlog.Hash
		copy(root[:], signed)
		check(what+": root", root, log.root(n))
		roots = append(roots, root)
		if e.Event.Type == "snapshot" {
			manifest(what, folder, e)
		}
	}
	// From here on only signed roots are believed.
	for newer := range roots {
		size := int64(newer + 1)
		for n := int64(0); n < size; n++ {
			what := fmt.Sprintf("%s, tree of %d", name, size)
			log.included(what, size, n, leaves[n], roots[newer])
			proof, err := tlog.ProveTree(size, n+1, log)
			must(err)
			check(fmt.Sprintf("%s: extends that of %d", what, n+1), tlog.CheckTree(proof, size, roots[newer], n+1, roots[n]), nil)
		}
	}
}

// manifest judges the tree over a manifest's lines by the root that the log's entry has.
func manifest(what, folder string, e entry) {
	content, err := exec.Command("zstd", "-dc", filepath.Join(folder, e.Event.Manifest)).Output()
	must(err)
	lines := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	check(what+": lines of the manifest", len(lines), e.Event.Lines)
	t := &tree{}
	for _, line := range lines {
		t.add(line)
	}
	size := int64(len(lines))
	root := t.root(size)
	check(what+": root of the manifest", hex.EncodeToString(root[:]), e.Event.Root)
	for n, line := range lines {
		t.included(what+", manifest", size, int64(n), line, root)
	}
}

// archive judges everything below a folder made by two-archives.sh.
func archive(folder string) {
	name := filepath.Base(folder)
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join(folder, file))
		must(err)
		return strings.TrimSpace(string(text))
	}
	key := read("verifier")
	verifier, err := note.NewVerifier(key)
	check(name+": the verifier key", err, nil)
	must(err)
	signer, err := note.NewSigner(read("signer.key"))
	check(name+": the signer key", err, nil)
	must(err)
	check(name+": both keys have one name", signer.Name(), verifier.Name())
	check(name+": and one id", signer.KeyHash(), verifier.KeyHash())
	var header struct{ Archive_id string }
	must(json.Unmarshal([]byte(read("archive/archive.json")), &header))
	check(name+": the key is named after the archive", verifier.Name(), "akv-archiver/"+header.Archive_id)
	vault(name, filepath.Join(folder, "archive"), "prod.vault.azure.net", verifier, signer)
}

// Reasons for which a note is refused by whoever reads notes. The others are for readers of checkpoints.
var ofNotes = map[string]bool{
	"note-too-large": true, "note-not-text": true, "note-layout": true, "signature-line": true, "bad-signature": true,
	"no-known-signature": true,
}

// vectors judges tests/vectors/note: whether the reference accepts and refuses what they say.
func vectors(folder string) {
	paths, err := filepath.Glob(filepath.Join(folder, "note", "*.txt"))
	must(err)
	check("there are vectors", len(paths) > 10, true)
	for _, path := range paths {
		file, err := os.ReadFile(path)
		must(err)
		parts := bytes.SplitN(file, []byte("\n\n"), 2)
		header, payload := string(parts[0]), parts[1]
		expect, verifiers := "", []note.Verifier{}
		for _, line := range strings.Split(header, "\n") {
			field := strings.SplitN(line, ": ", 2)
			switch {
			case field[0] == "expect":
				expect = field[1]
			case field[0] == "verifier":
				verifier, err := note.NewVerifier(field[1])
				must(err)
				verifiers = append(verifiers, verifier)
			case field[0] == "payload" && field[1] == "base64":
				payload, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(payload), "\n", ""))
				must(err)
			}
		}
		_, err = note.Open(payload, note.VerifierList(verifiers...))
		check(fmt.Sprintf("vector %s (%s): refused", filepath.Base(path), expect), err != nil, ofNotes[expect])
	}
}

func main() {
	vectors(os.Args[1])
	for _, folder := range os.Args[2:] {
		archive(folder)
	}
	fmt.Printf("go-sumdb: %d passed, %d failed, 0 skipped\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
