//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/test/kubetest"
)

// Every rule that comes with Tiercel fires at what it is about, and is silent at a near miss.
func TestOurRules(t *testing.T) {
	file := filepath.Join(kubetest.Root(), "samples", "rules", "tiercel_rules.yaml")
	th := newTheatre(t)
	w := th.watch(file)
	th.open()
	section := th.testRules(t, w, load(t, "tiercel.yaml"), rulesOf(t, file))
	document(t, "coverage.md", "The rules that come with Tiercel", section)
}
