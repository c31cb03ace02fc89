package load

// A Code names a kind of error or warning. The names are Falco's.
type Code string

// Codes of errors.
const (
	ErrFileRead         Code = "LOAD_ERR_FILE_READ"
	ErrYAMLParse        Code = "LOAD_ERR_YAML_PARSE"
	ErrYAMLValidate     Code = "LOAD_ERR_YAML_VALIDATE"
	ErrCompileCondition Code = "LOAD_ERR_COMPILE_CONDITION"
	ErrCompileOutput    Code = "LOAD_ERR_COMPILE_OUTPUT"
	ErrValidate         Code = "LOAD_ERR_VALIDATE"
	ErrExtension        Code = "LOAD_ERR_EXTENSION"
)

// Codes of warnings. The last three are our own: Falco has no word for them.
const (
	WarnUnknownSource      Code = "LOAD_UNKNOWN_SOURCE"
	WarnUnsafeNACheck      Code = "LOAD_UNSAFE_NA_CHECK"
	WarnNoEvttype          Code = "LOAD_NO_EVTTYPE"
	WarnUnknownFilter      Code = "LOAD_UNKNOWN_FILTER"
	WarnUnusedMacro        Code = "LOAD_UNUSED_MACRO"
	WarnUnusedList         Code = "LOAD_UNUSED_LIST"
	WarnUnknownItem        Code = "LOAD_UNKNOWN_ITEM"
	WarnDeprecatedItem     Code = "LOAD_DEPRECATED_ITEM"
	WarnExtension          Code = "LOAD_WARNING_EXTENSION"
	WarnAppendNoValues     Code = "LOAD_APPEND_NO_VALUES"
	WarnExceptionNotUnique Code = "LOAD_EXCEPTION_NAME_NOT_UNIQUE"
	WarnInvalidMacroName   Code = "LOAD_INVALID_MACRO_NAME"
	WarnInvalidListName    Code = "LOAD_INVALID_LIST_NAME"
	WarnCompileCondition   Code = "LOAD_COMPILE_CONDITION"
	WarnUnknownKey         Code = "LOAD_UNKNOWN_KEY"
	WarnNotGiven           Code = "TIERCEL_NOT_GIVEN"     // the source cannot give an event type or field that the rule needs
	WarnNeverMatches       Code = "TIERCEL_NEVER_MATCHES" // no event can match the rule
	WarnShadowed           Code = "TIERCEL_SHADOWED"      // an earlier rule matches whatever this one does
)

// codeDescs describes the codes in a few words, for the codedesc of Falco's document.
var codeDescs = map[Code]string{
	ErrFileRead:            "File read error",
	ErrYAMLParse:           "YAML parse error",
	ErrYAMLValidate:        "Error validating internal structure of YAML file",
	ErrCompileCondition:    "Error compiling condition",
	ErrCompileOutput:       "Error compiling output",
	ErrValidate:            "Error validating rule/macro/list/exception objects",
	ErrExtension:           "Error in extension item",
	WarnUnknownSource:      "Unknown event source",
	WarnUnsafeNACheck:      "Unsafe <NA> comparison in condition",
	WarnNoEvttype:          "Condition has no event-type restriction",
	WarnUnknownFilter:      "Unknown field or event-type in condition or output",
	WarnUnusedMacro:        "Unused macro",
	WarnUnusedList:         "Unused list",
	WarnUnknownItem:        "Unknown rules file item",
	WarnDeprecatedItem:     "Used deprecated item",
	WarnExtension:          "Warning in extension item",
	WarnAppendNoValues:     "Overriding/appending with no values",
	WarnExceptionNotUnique: "Multiple exceptions defined with the same name",
	WarnInvalidMacroName:   "Invalid macro name",
	WarnInvalidListName:    "Invalid list name",
	WarnCompileCondition:   "Warning in rule condition",
	WarnUnknownKey:         "Unknown key in item definition",
	WarnNotGiven:           "Event type or field that the source does not give",
	WarnNeverMatches:       "Rule that can never match",
	WarnShadowed:           "Rule that an earlier rule hides",
}

// Desc describes c in a few words.
func (c Code) Desc() string { return codeDescs[c] }
