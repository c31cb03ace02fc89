package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/functions/sdk/javascript"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// maxPacked bounds how many packed sources a Deployer keeps; beyond it they are packed again.
const maxPacked = 64

// pack makes a module of a source that can be deployed, once for the same text.
func (d *Deployer) pack(ctx context.Context, path string) (*sandbox.Packed, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > javascript.MaxSource {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, javascript.MaxSource)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if d.Pack == nil {
		return nil, fmt.Errorf("%s: sources cannot be deployed here", path)
	}
	key := sha256.Sum256(append([]byte(filepath.Base(path)+"\x00"), text...))
	if p := d.packed[key]; p != nil {
		return p, nil
	}
	p, err := d.Pack(ctx, path, text)
	if err != nil {
		return nil, err
	}
	if d.packed == nil || len(d.packed) >= maxPacked {
		d.packed = map[[32]byte]*sandbox.Packed{}
	}
	d.packed[key] = p
	return p, nil
}

// FromSource returns the document that a source brings itself, as its export "spec". What the source has wrong is an error that begins
// with its place.
func (d *Deployer) FromSource(ctx context.Context, path string) (*function.Document, error) {
	p, err := d.pack(ctx, path)
	if err != nil {
		return nil, err
	}
	if p.Spec == nil {
		return nil, fmt.Errorf("%s: says neither when it runs nor what it may do: add `export const spec = {triggers: [{rules: [\"…\"]}]}`, or put %s beside it", path, documentOf(path))
	}
	return function.FromSource(function.Source{
		File: path, Module: "file:" + filepath.Base(path), Manifest: p.Manifest, Spec: p.Spec, Place: p.Program.Place,
	})
}

func documentOf(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + ".yaml"
}

// Documents reads every function below path, which is a file or a folder: Function documents, and sources that bring theirs. Of a source
// with a document of the same name beside it (isolate.yaml beside isolate.js) it is the document that counts. Problems are joined.
func (d *Deployer) Documents(ctx context.Context, path string) ([]*function.Document, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && javascript.IsSource(path) {
		if doc := filepath.Join(filepath.Dir(path), documentOf(path)); exists(doc) {
			return function.ReadFiles(doc)
		}
		doc, err := d.FromSource(ctx, path)
		if err != nil {
			return nil, err
		}
		return []*function.Document{doc}, nil
	}
	docs, err := function.ReadFiles(path)
	if !info.IsDir() {
		return docs, err
	}
	more, sourceErr := d.sources(ctx, path)
	return joinDocuments(docs, more, errors.Join(err, sourceErr))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sources reads the documents that sources below the folder bring.
func (d *Deployer) sources(ctx context.Context, folder string) ([]*function.Document, error) {
	var docs []*function.Document
	var errs []error
	err := filepath.WalkDir(folder, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && p != folder && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case e.IsDir() || strings.HasPrefix(e.Name(), ".") || !javascript.IsSource(p) || exists(filepath.Join(filepath.Dir(p), documentOf(p))):
			return nil
		}
		info, err := e.Info()
		if err != nil || info.Size() > javascript.MaxSource {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if !javascript.HasSpec(text) {
			return nil // a test, or a part of something else
		}
		doc, err := d.FromSource(ctx, p)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		docs = append(docs, doc)
		return nil
	})
	return docs, errors.Join(append(errs, err)...)
}

// joinDocuments refuses two functions of the same name.
func joinDocuments(docs, more []*function.Document, err error) ([]*function.Document, error) {
	for _, m := range more {
		if i := slices.IndexFunc(docs, func(d *function.Document) bool { return d.Metadata.Token() == m.Metadata.Token() }); i >= 0 {
			err = errors.Join(err, fmt.Errorf("%s: function %q stands in %s as well", m.File(), m.Metadata.Name, docs[i].File()))
			continue
		}
		docs = append(docs, m)
	}
	return docs, err
}
