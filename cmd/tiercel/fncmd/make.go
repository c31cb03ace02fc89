package fncmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/rules/spell"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	samples "github.com/tiercel-project/tiercel/samples/functions"
)

func newInit(s cli.Streams) *cobra.Command {
	var lang, from string
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Make the folder of a new function",
		Long: "Make a folder with a function that works: its source, its manifest, its document and the SDK. Nothing is downloaded, then or when it\n" +
			"is built.",
		Example: "  tiercel fn init my-responder --lang javascript\n  tiercel fn init my-isolation --from builtin:isolate-pod",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			files, err := initialise(dir, lang, from)
			if errors.Is(err, functions.ErrName) {
				return cli.Usagef("%w", err)
			}
			if errors.Is(err, functions.ErrLanguage) {
				return &cli.Error{Err: err, Hint: language(lang), Code: cli.ExitUsage}
			}
			if errors.Is(err, functions.ErrNotEmpty) {
				return &cli.Error{Err: err, Hint: "name one that does not exist yet, or remove what is in it"}
			}
			if errors.Is(err, functions.ErrResponder) {
				hint := ""
				if near := spell.Nearest(strings.TrimPrefix(from, "builtin:"), functions.Responders()); near != "" {
					hint = "did you mean builtin:" + near + "?"
				}
				return &cli.Error{Err: err, Hint: hint, Code: cli.ExitUsage}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "made %s with %s\n\nnext:\n  edit   %s\n  then   tiercel fn test %s\n  and    tiercel fn deploy %s\n",
				dir, strings.Join(files, ", "), filepath.Join(dir, source(files)), dir, dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "javascript", "language: "+strings.Join(functions.Languages(), ", "))
	cmd.Flags().StringVar(&from, "from", "", "begin as a copy of a bundled responder: builtin:NAME")
	cmd.MarkFlagsMutuallyExclusive("lang", "from")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(functions.Languages(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// language is a hint at the language that a user means by a name that is none.
func language(name string) string {
	near := map[string]string{"js": "javascript", "node": "javascript", "ts": "typescript", "golang": "go", "rs": "rust", "as": "assemblyscript"}[strings.ToLower(name)]
	if near == "" {
		near = spell.Nearest(strings.ToLower(name), functions.Languages())
	}
	if near == "" {
		return ""
	}
	return "did you mean --lang " + near + "?"
}

// initialise writes the new function's folder and returns its files.
func initialise(dir, lang, from string) ([]string, error) {
	name := filepath.Base(dir)
	if from == "" {
		return functions.WriteTemplate(dir, name, lang)
	}
	responder, ok := strings.CutPrefix(from, "builtin:")
	if !ok {
		e := &cli.Error{Err: fmt.Errorf("--from %s: give builtin:NAME", from), Code: cli.ExitUsage}
		if near := spell.Nearest(from, functions.Responders()); near != "" {
			e.Hint = "did you mean --from builtin:" + near + "?"
		}
		return nil, e
	}
	doc, err := fs.ReadFile(samples.FS, responder+".yaml")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // WriteResponder says which there are
	}
	if err != nil {
		return nil, err
	}
	return functions.WriteResponder(dir, name, responder, doc)
}

// source is the file to begin reading with.
func source(files []string) string {
	for _, f := range files {
		switch path.Ext(f) {
		case ".js", ".ts", ".go", ".rs", ".c":
			if !strings.HasSuffix(f, "_test.go") && !strings.HasSuffix(f, ".d.ts") {
				return f
			}
		}
	}
	return documentFile
}

func newBuild(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "build [DIR]",
		Short:   "Compile the function in a folder",
		Long:    "Compile the Go function in DIR (default: here) into the module that its document names, and check that the two fit.",
		Example: "  tiercel fn build my-responder",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			docs, err := readDocs(dir)
			if err != nil {
				return report(s, err)
			}
			return build(cmd, s, dir, docs)
		},
	}
}

// documentFile is the document that fn init writes.
const documentFile = "function.yaml"

// readDocs reads the documents of a file, of a folder made by fn init, or of a directory of documents.
func readDocs(path string) ([]*function.Document, error) {
	if f := filepath.Join(path, documentFile); isFile(f) {
		path = f
	}
	return function.ReadFiles(path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// isSource reports whether dir holds a function's source.
func isSource(dir string) bool {
	return isFile(filepath.Join(dir, functions.ManifestFile)) && isFile(filepath.Join(dir, documentFile))
}

// build compiles the function in dir and writes the module where its document looks for it.
func build(cmd *cobra.Command, s cli.Streams, dir string, docs []*function.Document) error {
	module, err := functions.Build(cmd.Context(), dir)
	if err != nil {
		return err
	}
	m, err := sandbox.Validate(module)
	if err != nil {
		return report(s, err)
	}
	out := filepath.Join(dir, m.Name+".wasm")
	for _, d := range docs {
		if f, ok := strings.CutPrefix(d.Spec.Module, "file:"); ok && !filepath.IsAbs(f) {
			out = filepath.Join(dir, f)
		}
	}
	if err := os.WriteFile(out, module, 0o644); err != nil {
		return err
	}
	for _, d := range docs {
		if err := d.Check(m); err != nil {
			return report(s, err)
		}
	}
	fmt.Fprintf(s.Err, "built %s (%d KiB)\n", out, len(module)>>10)
	return nil
}
