package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A Deployer brings documents into the store: it finds their modules and holds them against each other.
type Deployer struct {
	Store   *store.Store
	Builtin func(name string) ([]byte, error) // nil: there are no bundled modules
	Rules   func() []string                   // names of known rules, for warnings; nil: not known

	// Compile compiles a module and runs its initialisation; nil: only what can be told without is checked.
	Compile func(ctx context.Context, module []byte) error

	// Pack makes a module of a source in JavaScript or TypeScript; nil: sources cannot be deployed.
	Pack func(ctx context.Context, file string, source []byte) (*sandbox.Packed, error)

	packed map[[32]byte]*sandbox.Packed // by name and text
}

// A Deployment is what Deploy did with a document.
type Deployment struct {
	Entry    *store.Entry
	Applied  store.Applied
	Warnings []*function.PosError
}

// Check finds the module of a document and holds the document against its manifest, whose defaults the document takes over. It stores
// nothing. Errors are *function.PosError or *sandbox.ModuleError, joined.
func (d *Deployer) Check(ctx context.Context, doc *function.Document) (module []byte, m abi.Manifest, warnings []*function.PosError, err error) {
	module, err = d.module(ctx, doc)
	if err != nil {
		return nil, m, nil, doc.Problem("spec.module", err)
	}
	m, err = sandbox.Validate(module)
	if err != nil {
		return nil, m, nil, doc.Problem("spec.module", fmt.Errorf("%s is no module of a function: %w", doc.Spec.Module, err))
	}
	if err := doc.Check(m); err != nil {
		return nil, m, nil, err
	}
	if d.Compile != nil {
		if err := d.Compile(ctx, module); err != nil {
			return nil, m, nil, doc.Problem("spec.module", fmt.Errorf("%s does not compile: %w", doc.Spec.Module, err))
		}
	}
	if d.Rules != nil {
		if known := d.Rules(); len(known) != 0 {
			warnings = doc.UnknownRules(known)
		}
	}
	return module, m, warnings, nil
}

// Deploy checks a document and stores it with its module.
func (d *Deployer) Deploy(ctx context.Context, doc *function.Document, by store.Manager, origin string) (Deployment, error) {
	module, m, warnings, err := d.Check(ctx, doc)
	if err != nil {
		return Deployment{}, err
	}
	digest, err := d.Store.PutModule(ctx, module)
	if err != nil {
		return Deployment{}, err
	}
	e, applied, err := d.Store.Apply(ctx, doc, digest, &m, by, origin)
	return Deployment{Entry: e, Applied: applied, Warnings: warnings}, err
}

// module reads the bytes that a document's reference stands for. A file is relative to the document's.
func (d *Deployer) module(ctx context.Context, doc *function.Document) ([]byte, error) {
	kind, rest, _ := strings.Cut(doc.Spec.Module, ":")
	switch kind {
	case "builtin":
		if d.Builtin == nil {
			return nil, fmt.Errorf("there are no bundled modules in this build, %q among them", rest)
		}
		return d.Builtin(rest)
	case "sha256":
		b, err := d.Store.Module(ctx, doc.Spec.Module)
		if errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("no module with the digest %s is stored", doc.Spec.Module)
		}
		return b, err
	}
	path := rest
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(doc.File()), path)
	}
	info, err := os.Stat(path)
	if javascript.IsSource(path) && err == nil {
		p, err := d.pack(ctx, path)
		if err != nil {
			return nil, err
		}
		return p.Module, nil
	}
	if errors.Is(err, fs.ErrNotExist) && javascript.IsSource(path) {
		return nil, fmt.Errorf("there is no %s", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: build it with tiercel fn build %s", path, filepath.Dir(doc.File()))
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > abi.MaxModule {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, abi.MaxModule)
	}
	return os.ReadFile(path)
}
