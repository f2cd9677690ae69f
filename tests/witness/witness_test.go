// The log and the witness of the real binary, as Go sees them: notes and trees by golang.org/x/mod/sumdb, ML-DSA by
// crypto/mldsa. What is said on the wire is written down here from C2SP's specifications, a second time.
package witness

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const patience = 60 * time.Second

// --- tlog-cosignature, on Go's note package ---------------------------------

func keyID(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:4])
}

// message is what a cosignature of type 4 or 6 is over.
func message(kind byte, name string, time uint64, text []byte) []byte {
	if kind == 4 {
		return append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
	}
	origin, size, root, err := parse(text)
	if err != nil {
		return nil
	}
	out := []byte("subtree/v1\n\x00")
	out = append(append(out, byte(len(name))), name...)
	out = binary.BigEndian.AppendUint64(out, time)
	out = append(append(out, byte(len(origin))), origin...)
	out = binary.BigEndian.AppendUint64(out, 0)
	out = binary.BigEndian.AppendUint64(out, uint64(size))
	return append(out, root[:]...)
}

func parse(text []byte) (origin string, size int64, root tlog.Hash, err error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 {
		return "", 0, root, fmt.Errorf("no checkpoint")
	}
	if size, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return "", 0, root, err
	}
	root, err = tlog.ParseHash(lines[2])
	return lines[0], size, root, err
}

type verifier struct {
	name string
	key  []byte // with the type before it
}

func newVerifier(t *testing.T, vkey string) note.Verifier {
	t.Helper()
	fields := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(fields[2])
	check(t, err)
	if key[0] == 1 {
		v, err := note.NewVerifier(vkey)
		check(t, err)
		return v
	}
	v := &verifier{fields[0], key}
	if fmt.Sprintf("%08x", v.KeyHash()) != fields[1] {
		t.Fatalf("%s has another id than %s", fields[0], fields[1])
	}
	return v
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return keyID(v.name, v.key) }
func (v *verifier) Verify(msg, sig []byte) bool {
	if len(sig) < 8 {
		return false
	}
	signed := message(v.key[0], v.name, binary.BigEndian.Uint64(sig), msg)
	if v.key[0] == 4 {
		return ed25519.Verify(ed25519.PublicKey(v.key[1:]), signed, sig[8:])
	}
	public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), v.key[1:])
	return err == nil && mldsa.Verify(public, signed, sig[8:], nil) == nil
}

type signer struct {
	verifier
	sign func(message []byte) []byte
}

func (s *signer) Sign(msg []byte) ([]byte, error) {
	now := uint64(time.Now().Unix())
	sig := binary.BigEndian.AppendUint64(nil, now)
	return append(sig, s.sign(message(s.key[0], s.name, now, msg))...), nil
}

func (s *signer) vkey() string {
	return fmt.Sprintf("%s+%08x+%s", s.name, s.KeyHash(), base64.StdEncoding.EncodeToString(s.key))
}

// cosigners are the two keys of a witness.
func cosigners(t *testing.T, name string) []*signer {
	public, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	pq, err := mldsa.GenerateKey(mldsa.MLDSA44())
	check(t, err)
	return []*signer{
		{verifier{name, append([]byte{4}, public...)}, func(m []byte) []byte { return ed25519.Sign(private, m) }},
		{verifier{name, append([]byte{6}, pq.PublicKey().Bytes()...)}, func(m []byte) []byte {
			sig, err := pq.Sign(nil, m, &mldsa.Options{})
			check(t, err)
			return sig
		}},
	}
}

// --- Help ---------------------------------------------------------------------

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for: %s", what)
		}
	}
}

func start(t *testing.T, arguments ...string) io.Reader {
	t.Helper()
	command := exec.Command(os.Getenv("TABELLION_BIN"), arguments...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Env = append(os.Environ(), "TABELLION_GATEWAY_LISTEN=127.0.0.1:0", "TABELLION_CONSOLE_LISTEN=127.0.0.1:0",
		"TABELLION_LEDGER_PUBLISH_MS=50")
	stderr, err := command.StderrPipe()
	check(t, err)
	check(t, command.Start())
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		command.Wait()
	})
	return stderr
}

// serve starts a log in a directory; gives the address of its console.
func serve(t *testing.T, data, config string) string {
	t.Helper()
	os.Remove(filepath.Join(data, "server.json"))
	file := data + ".toml"
	check(t, os.WriteFile(file, []byte(config), 0o600))
	stderr := start(t, "serve", "--data", data, "--config", file)
	go io.Copy(os.Stderr, stderr)
	var addresses struct{ Console string }
	eventually(t, "the log to start", func() bool {
		text, err := os.ReadFile(filepath.Join(data, "server.json"))
		return err == nil && json.Unmarshal(text, &addresses) == nil
	})
	return addresses.Console
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	if response.StatusCode != 200 {
		t.Fatalf("%s: %s", url, response.Status)
	}
	return body
}

func post(t *testing.T, url string, body []byte) (int, http.Header, []byte) {
	t.Helper()
	response, err := http.Post(url, "text/plain", bytes.NewReader(body))
	check(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, response.Header, answer
}

func vkeys(t *testing.T, path string) []note.Verifier {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	var all []note.Verifier
	for _, line := range strings.Fields(string(text)) {
		all = append(all, newVerifier(t, line))
	}
	return all
}

// --- The log, read by Go --------------------------------------------------------

// tiles reads them as C2SP names them: tile/<L>/<N>, where Go's checksum database says tile/8/<L>/<N>.
type tiles struct {
	t   *testing.T
	url string
}

func (r tiles) Height() int                                { return 8 }
func (r tiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (r tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		all = append(all, r.read(tile, "tile/8/", "tile/")[:32*tile.W])
	}
	return all, nil
}

// read falls back on the full tile, which takes the place of partial ones.
func (r tiles) read(tile tlog.Tile, from, to string) []byte {
	r.t.Helper()
	url := r.url + "/log/" + strings.Replace(tile.Path(), from, to, 1)
	response, err := http.Get(url)
	check(r.t, err)
	defer response.Body.Close()
	if response.StatusCode == 404 && tile.W < 256 {
		tile.W = 256
		return get(r.t, r.url+"/log/"+strings.Replace(tile.Path(), from, to, 1))
	}
	if response.StatusCode != 200 {
		r.t.Fatalf("%s: %s", url, response.Status)
	}
	body, err := io.ReadAll(response.Body)
	check(r.t, err)
	return body
}

// readLog checks everything that a log serves: both signatures, every leaf, proofs, and an older size.
func readLog(t *testing.T, url string, keys []note.Verifier, minimum int) {
	t.Helper()
	checkpoint := get(t, url+"/log/checkpoint")
	opened, err := note.Open(checkpoint, note.VerifierList(keys...))
	check(t, err)
	if len(opened.Sigs) != len(keys) {
		t.Fatalf("%d of %d keys signed:\n%s", len(opened.Sigs), len(keys), checkpoint)
	}
	_, size, root, err := parse([]byte(opened.Text))
	check(t, err)
	if size < int64(minimum) {
		t.Fatalf("the log has %d entries", size)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{t, url})
	for first := int64(0); first < size; first += 256 {
		name := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(min(256, size-first))}
		bundle := tiles{t, url}.read(name, "tile/8/0/", "tile/entries/")
		for n := first; n < min(size, first+256); n++ {
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			leaf := tlog.RecordHash(entry)
			stored, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
			check(t, err)
			if stored[0] != leaf {
				t.Fatalf("entry %d has another hash than its tile", n)
			}
			if n%97 == 0 || n == size-1 {
				proof, err := tlog.ProveRecord(size, n, reader)
				check(t, err)
				check(t, tlog.CheckRecord(proof, size, root, n, leaf))
			}
		}
		if len(bundle) != 0 && size-first >= 256 {
			t.Fatalf("a bundle goes on after its last entry")
		}
	}
	for _, old := range []int64{1, 2, size / 2, size - 1} {
		older, err := tlog.TreeHash(old, reader)
		check(t, err)
		proof, err := tlog.ProveTree(size, old, reader)
		check(t, err)
		check(t, tlog.CheckTree(proof, size, root, old, older))
	}
}

func TestGoReadsTheLog(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	url := serve(t, data, "[log]\nadd = true\n")
	for n := range 700 {
		status, _, answer := post(t, url+"/log/add", fmt.Appendf(nil, "entry %d", n))
		if status != 200 {
			t.Fatalf("%d: %s", status, answer)
		}
		if _, err := strconv.Atoi(string(answer)); err != nil {
			t.Fatalf("%q is no index", answer)
		}
		if n == 254 || n == 255 || n == 256 {
			readLog(t, url, vkeys(t, filepath.Join(data, "log.vkey")), 1)
		}
	}
	keys := vkeys(t, filepath.Join(data, "log.vkey"))
	if len(keys) != 2 {
		t.Fatalf("the log has %d keys", len(keys))
	}
	eventually(t, "the last entry", func() bool {
		_, size, _, err := parse(get(t, url+"/log/checkpoint"))
		return err == nil && size >= 701
	})
	readLog(t, url, keys, 701)
}

// --- A witness in Go, for our log -------------------------------------------------

type goWitness struct {
	sync.Mutex
	logKeys  []note.Verifier
	signers  []*signer
	size     int64
	root     tlog.Hash
	answered []int
}

func (w *goWitness) ServeHTTP(out http.ResponseWriter, request *http.Request) {
	w.Lock()
	defer w.Unlock()
	status := w.add(out, request)
	w.answered = append(w.answered, status)
}

func (w *goWitness) add(out http.ResponseWriter, request *http.Request) int {
	fail := func(status int, text string) int {
		out.WriteHeader(status)
		io.WriteString(out, text)
		return status
	}
	if request.Method != "POST" || request.URL.Path != "/prefix/add-checkpoint" {
		return fail(404, "")
	}
	body := bufio.NewReader(request.Body)
	line, _ := body.ReadString('\n')
	old, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(line, "old "), "\n"), 10, 64)
	if err != nil || !strings.HasPrefix(line, "old ") {
		return fail(400, "no old size")
	}
	var proof tlog.TreeProof
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			return fail(400, "no empty line")
		}
		if line == "\n" {
			break
		}
		hash, err := tlog.ParseHash(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return fail(400, "no hash")
		}
		proof = append(proof, hash)
	}
	checkpoint, _ := io.ReadAll(body)
	opened, err := note.Open(checkpoint, note.VerifierList(w.logKeys...))
	if err != nil || len(opened.Sigs) != len(w.logKeys) {
		return fail(403, "not signed by both keys")
	}
	_, size, root, err := parse([]byte(opened.Text))
	if err != nil || old > size {
		return fail(400, "bad checkpoint")
	}
	if old != w.size {
		out.Header().Set("Content-Type", "text/x.tlog.size")
		return fail(409, fmt.Sprintf("%d\n", w.size))
	}
	switch {
	case old == 0 && len(proof) != 0:
		return fail(422, "a proof from nothing")
	case old == size && old > 0 && (root != w.root || len(proof) != 0):
		return fail(422, "another root")
	case old > 0 && old < size:
		if err := tlog.CheckTree(proof, size, root, old, w.root); err != nil {
			return fail(422, err.Error())
		}
	}
	w.size, w.root = size, root
	for _, signer := range w.signers {
		signed, err := note.Sign(&note.Note{Text: opened.Text}, signer)
		if err != nil {
			return fail(500, err.Error())
		}
		out.Write(signed[len(opened.Text)+1:])
	}
	return 200
}

func TestAWitnessInGoCosignsOurLog(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	// Once, so that there are keys for the witness to know.
	stderr := start(t, "serve", "--data", data)
	go io.Copy(io.Discard, stderr)
	eventually(t, "the keys", func() bool {
		_, err := os.Stat(filepath.Join(data, "log/checkpoint"))
		return err == nil
	})
	text, err := os.ReadFile(filepath.Join(data, "server.json"))
	for ; err != nil; text, err = os.ReadFile(filepath.Join(data, "server.json")) {
		time.Sleep(10 * time.Millisecond)
	}
	var first struct{ Pid int }
	check(t, json.Unmarshal(text, &first))
	check(t, syscall.Kill(first.Pid, syscall.SIGTERM))
	eventually(t, "the first run to end", func() bool {
		_, err := os.Stat(filepath.Join(data, "server.json"))
		return err != nil
	})
	time.Sleep(500 * time.Millisecond)

	signers := cosigners(t, "go.example/witness")
	witness := &goWitness{logKeys: vkeys(t, filepath.Join(data, "log.vkey")), signers: signers}
	server := httptest.NewServer(witness)
	defer server.Close()
	config := fmt.Sprintf("[log]\nadd = true\n[witnesses]\nquorum = 1\n[[witness]]\nname = \"go\"\nvkey = \"%s %s\"\nurl = \"%s/prefix/\"\n",
		signers[0].vkey(), signers[1].vkey(), server.URL)
	url := serve(t, data, config)
	all := append(vkeys(t, filepath.Join(data, "log.vkey")), newVerifier(t, signers[0].vkey()), newVerifier(t, signers[1].vkey()))
	for n := range 300 {
		status, _, answer := post(t, url+"/log/add", fmt.Appendf(nil, "entry %d", n))
		if status != 200 {
			t.Fatalf("%d: %s", status, answer)
		}
	}
	whole := func(minimum int64) func() bool {
		return func() bool {
			opened, err := note.Open(get(t, url+"/log/checkpoint"), note.VerifierList(all...))
			check(t, err)
			_, size, _, err := parse([]byte(opened.Text))
			return err == nil && size >= minimum && len(opened.Sigs) == 4
		}
	}
	// Three entries of the log's own come before: start, stop, start.
	eventually(t, "a checkpoint with four signatures", whole(303))

	// It has lost its state, as one restored from a backup: the log takes the 409 and goes on.
	witness.Lock()
	witness.size, witness.root = 0, tlog.Hash{}
	before := len(witness.answered)
	witness.Unlock()
	status, _, _ := post(t, url+"/log/add", []byte("one more"))
	if status != 200 {
		t.Fatal(status)
	}
	eventually(t, "a cosignature after the witness forgot", whole(304))
	witness.Lock()
	defer witness.Unlock()
	if answers := witness.answered[before:]; answers[0] != 409 || answers[1] != 200 {
		t.Fatalf("it answered %v", answers)
	}
	for _, status := range witness.answered {
		if status != 200 && status != 409 {
			t.Fatalf("it answered %v", witness.answered)
		}
	}
}

// --- Our witness, driven by Go ---------------------------------------------------------

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, index := range indexes {
		all = append(all, m[index])
	}
	return all, nil
}

func TestOurWitnessCosignsALogInGo(t *testing.T) {
	skey, vkey, err := note.GenerateKey(nil, "go.example/log")
	check(t, err)
	logSigner, err := note.NewSigner(skey)
	check(t, err)
	folder := t.TempDir()
	stderr := start(t, "witness", "--name", "our.example/witness", "--listen", "127.0.0.1:0", "--data", folder, "--log", vkey)
	line, err := bufio.NewReader(stderr).ReadString('\n')
	check(t, err)
	url := "http://" + strings.Split(strings.Split(line, "http://")[1], "/")[0]
	go io.Copy(io.Discard, stderr)
	keys := append(vkeys(t, filepath.Join(folder, "witness.vkey")), newVerifier(t, vkey))

	var hashes memory
	submit := func(old, size int64) (int, http.Header, []byte, []byte) {
		root, err := tlog.TreeHash(size, hashes)
		check(t, err)
		body := fmt.Sprintf("old %d\n", old)
		if old > 0 && old < size {
			proof, err := tlog.ProveTree(size, old, hashes)
			check(t, err)
			for _, hash := range proof {
				body += hash.String() + "\n"
			}
		}
		text := fmt.Sprintf("go.example/log\n%d\n%s\n", size, root)
		signed, err := note.Sign(&note.Note{Text: text}, logSigner)
		check(t, err)
		status, header, answer := post(t, url+"/add-checkpoint", append([]byte(body+"\n"), signed...))
		return status, header, answer, signed
	}
	last := int64(0)
	for n := range int64(300) {
		more, err := tlog.StoredHashes(n, fmt.Appendf(nil, "record %d", n), hashes)
		check(t, err)
		hashes = append(hashes, more...)
		size := n + 1
		if size > 40 && size%37 != 0 && size < 255 || size == 258 {
			continue
		}
		if last > 0 {
			status, header, answer, _ := submit(last-1, size)
			if status != 409 || string(answer) != fmt.Sprintf("%d\n", last) || header.Get("Content-Type") != "text/x.tlog.size" {
				t.Fatalf("%d to %d: %d %q", last-1, size, status, answer)
			}
		}
		status, _, answer, signed := submit(last, size)
		if status != 200 {
			t.Fatalf("%d to %d: %d %s", last, size, status, answer)
		}
		opened, err := note.Open(append(signed, answer...), note.VerifierList(keys...))
		check(t, err)
		if len(opened.Sigs) != 3 {
			t.Fatalf("%d signatures", len(opened.Sigs))
		}
		last = size
	}
	hash := sha256.Sum256([]byte("go.example/log"))
	shown := get(t, url+"/"+hex.EncodeToString(hash[:])+"/checkpoint")
	opened, err := note.Open(shown, note.VerifierList(keys...))
	check(t, err)
	if _, size, _, err := parse([]byte(opened.Text)); err != nil || size != last || len(opened.Sigs) != 3 {
		t.Fatalf("%v:\n%s", err, shown)
	}
}
