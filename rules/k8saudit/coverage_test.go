package k8saudit_test

import (
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
)

// Every field of the k8saudit and json plugins is given.
func TestEveryFieldGiven(t *testing.T) {
	for _, id := range field.All() {
		name := id.String()
		if strings.HasPrefix(name, "ka.") || strings.HasPrefix(name, "jevt.") || strings.HasPrefix(name, "json.") {
			if !k8saudit.Given(&field.Ref{ID: id, Index: -1}) {
				t.Errorf("%s is not given", name)
			}
		}
	}
}
