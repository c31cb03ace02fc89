package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox/wasm"
)

// Version names what a file is made into: the rewriter, the engine and how states are sealed. A product of one version is of no use to
// another, and a run of one need not repeat a run of another. It changes with every change of these; TestVersion notices most.
const Version = "3/" + wazeroVersion + "/" + abi.ImportModule

// wazeroVersion is that of go.mod, which TestVersion compares.
const wazeroVersion = "v1.12.0"

// A product is what publishing a file comes to, as it is kept in the cache folder beside the engine's: under the file's digest, so that
// the next process need not check, rewrite, initialise and warm it. It can always be made again.
type product struct {
	Basis   [32]byte // of the program; a product of another one is of no use
	Module  []byte   // rewritten; empty if the program runs on an engine of ours
	Globals []string
	Start   bool
	Init    bool
	Traits  wasm.Traits

	Size   int      // of the sealed memory
	Pages  []uint32 // indices of its pages that are not zero
	Data   []byte   // their content
	Values []uint64 // of the globals
	Digest [32]byte // of the sealed state
}

// productPage is the unit of Pages, the same on every machine.
const productPage = 4096

// errProduct is why a stored product is not used.
var errProduct = errors.New("damaged")

// productFile is where the product of a file is kept; empty without a cache folder.
func (e *Engine) productFile(digest [32]byte) string {
	if e.cacheDir == "" {
		return ""
	}
	version := sha256.Sum256([]byte(Version))
	return filepath.Join(e.cacheDir, "tiercel-"+hex.EncodeToString(version[:4])+"-"+runtime.GOARCH, hex.EncodeToString(digest[:]))
}

// load reads the product of a file; nil if there is none that can be used.
func (e *Engine) load(digest, basis [32]byte) *product {
	path := e.productFile(digest)
	if path == "" {
		return nil
	}
	p, err := readProduct(path)
	switch {
	case err == nil && p.Basis != basis:
	case err == nil:
		e.metrics.products.WithLabelValues("used").Inc()
		now := time.Now()
		_ = os.Chtimes(path, now, now) // the oldest are removed first
		return p
	case !errors.Is(err, fs.ErrNotExist):
		e.metrics.products.WithLabelValues("damaged").Inc()
		_ = os.Remove(path)
	}
	return nil
}

func readProduct(path string) (*product, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < sha256.Size {
		return nil, errProduct
	}
	if sum := sha256.Sum256(b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return nil, errProduct
	}
	p := new(product)
	if err := gob.NewDecoder(bytes.NewReader(b[sha256.Size:])).Decode(p); err != nil {
		return nil, errProduct
	}
	if len(p.Data) != len(p.Pages)*productPage || p.Size%wasm.PageSize != 0 || len(p.Values) != 0 && len(p.Values) != len(p.Globals) {
		return nil, errProduct
	}
	return p, nil
}

// memory is the sealed memory.
func (p *product) memory() ([]byte, error) {
	mem := make([]byte, p.Size)
	for i, n := range p.Pages {
		if int(n)*productPage >= len(mem) {
			return nil, errProduct
		}
		copy(mem[int(n)*productPage:], p.Data[i*productPage:(i+1)*productPage])
	}
	return mem, nil
}

// keep writes the product of a file. That it cannot be written costs the next process some time, and no more.
func (e *Engine) keep(digest [32]byte, p *published, basis [32]byte) {
	path := e.productFile(digest)
	if path == "" {
		return
	}
	if err := p.product(basis).write(path); err != nil {
		e.metrics.products.WithLabelValues("not kept").Inc()
		return
	}
	e.metrics.products.WithLabelValues("kept").Inc()
}

func (p *published) product(basis [32]byte) *product {
	c := p.code
	out := &product{Basis: basis, Globals: c.globals, Start: c.start, Init: c.init, Traits: c.traits, Size: int(p.image.size), Values: p.globals, Digest: p.state}
	if !p.shared {
		out.Module = c.module
	}
	for n := 0; n < len(p.image.view); n += productPage {
		if page := p.image.view[n : n+productPage]; !zero(page) {
			out.Pages = append(out.Pages, uint32(n/productPage))
			out.Data = append(out.Data, page...)
		}
	}
	return out
}

// write writes p whole or not at all.
func (p *product) write(path string) error {
	var b bytes.Buffer
	b.Write(make([]byte, sha256.Size))
	if err := gob.NewEncoder(&b).Encode(p); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes()[sha256.Size:])
	copy(b.Bytes(), sum[:])
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// stateDigest names a sealed state: memory and globals. The same file comes to the same one on every machine.
func stateDigest(memory []byte, globals []uint64) (digest [32]byte) {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, globals) // a hash takes everything
	h.Write(memory)
	return [32]byte(h.Sum(nil))
}

// maxCache bounds the cache folder, in bytes: engine code and products together.
const maxCache = 4 << 30

// prune removes the files of dir that have not been used for the longest time, until most bytes are left. What another process has open
// stays its own.
func prune(dir string, most int64) error {
	type file struct {
		path string
		size int64
		time time.Time
	}
	var files []file
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process was quicker
		}
		if err != nil {
			return err
		}
		files = append(files, file{path, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through the cache of compiled modules: %w", err)
	}
	slices.SortFunc(files, func(a, b file) int { return a.time.Compare(b.time) })
	for _, f := range files {
		if total <= most {
			break
		}
		if err := os.Remove(f.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			total -= f.size
		}
	}
	return nil
}
