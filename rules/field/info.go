package field

// A Type is the type of a field as rules see it.
type Type uint8

// Types of fields. Their names in Falco begin with PT_ or FTYPE_.
const (
	TypeString Type = iota + 1
	TypeBytes       // bytebuf
	TypeInt16       // also smaller
	TypeInt32
	TypeInt64
	TypeUint32
	TypeUint64
	TypeBool
	TypeDouble
	TypePort
	TypeIPAddr
	TypeIPNet
	TypeRelTime // ns
	TypeAbsTime // ns since the epoch
	TypeDyn     // the type of the argument named: evt.rawarg
)

// Flags of a field, as in Falco's field list.
type Flags uint16

// Flags of a field.
const (
	FlagArgAllowed    Flags = 1 << iota // may have an argument
	FlagArgRequired                     // must have an argument
	FlagArgIndex                        // the argument may be a number
	FlagArgKey                          // the argument may be a key
	FlagList                            // the value is a list
	FlagFilterOnly                      // conditions only
	FlagPrintOnly                       // outputs only
	FlagTableOnly                       // neither: made for table views
	FlagNoRHS                           // not with a field on the right-hand side
	FlagNoTransformer                   // takes no transformer
	FlagSuggested                       // appended to outputs that ask for suggested fields
	FlagDeprecated                      // loads, with a warning
)

// An Info describes a field.
type Info struct {
	Name  string
	Type  Type
	Flags Flags
	Class string // as Falco's field list groups them
	Desc  string // one sentence
}
