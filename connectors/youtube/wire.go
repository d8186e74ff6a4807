package youtube

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// Google's library tells an absent number from a zero as little as an absent
// no from a no. Where that matters the answer is read by these types as well.

// count is a number that the network writes as a string of digits.
type count int64

// UnmarshalJSON implements json.Unmarshaler.
func (c *count) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return &json.UnmarshalTypeError{Value: kindOfJSON(b), Type: reflect.TypeFor[string]()}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return &json.UnmarshalTypeError{Value: "string that is no number", Type: reflect.TypeFor[int64]()}
	}
	*c = count(n)
	return nil
}

func kindOfJSON(b []byte) string {
	switch b[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "bool"
	case 'n':
		return "null"
	}
	return "number"
}

// channelList is the answer of channels.list.
type channelList struct {
	Items []struct {
		Statistics channelCounts `json:"statistics"`
	} `json:"items"`
}

type channelCounts struct {
	Subscribers *count `json:"subscriberCount"`
	Hidden      bool   `json:"hiddenSubscriberCount"`
	Videos      *count `json:"videoCount"`
}

// videoList is the answer of videos.list and of videos.batchGetStats.
type videoList struct {
	Items []video `json:"items"`
}

type video struct {
	ID      string `json:"id"`
	Snippet struct {
		ChannelID   string `json:"channelId"`
		PublishedAt string `json:"publishedAt"`
		Title       string `json:"title"`
		Description string `json:"description"`
	} `json:"snippet"`
	Status     videoStatus `json:"status"`
	Statistics struct {
		Views    *count `json:"viewCount"`
		Likes    *count `json:"likeCount"`
		Comments *count `json:"commentCount"`
	} `json:"statistics"`
	File struct {
		Bytes *count `json:"fileSize"`
	} `json:"fileDetails"`
	Processing struct {
		Status string `json:"processingStatus"`
		Reason string `json:"processingFailureReason"`
	} `json:"processingDetails"`
}

type videoStatus struct {
	Privacy     string  `json:"privacyStatus"`
	Upload      string  `json:"uploadStatus"`
	Failure     string  `json:"failureReason"`
	Rejection   string  `json:"rejectionReason"`
	PublishAt   string  `json:"publishAt"`
	License     *string `json:"license"`
	Embeddable  *bool   `json:"embeddable"`
	PublicStats *bool   `json:"publicStatsViewable"`
	ForKids     *bool   `json:"selfDeclaredMadeForKids"`
	Synthetic   *bool   `json:"containsSyntheticMedia"`
}

// Validate asks for what each video must have.
func (l *videoList) Validate() error {
	for i, v := range l.Items {
		if v.ID == "" {
			return fmt.Errorf("items[%d].id is missing", i)
		}
	}
	return nil
}

// uploaded is the answer to the last piece of an upload.
type uploaded struct {
	ID string `json:"id"`
}

// report is the answer of the Analytics API. Columns are found by name.
type report struct {
	Columns []struct {
		Name string `json:"name"`
	} `json:"columnHeaders"`
	Rows [][]json.RawMessage `json:"rows"`
}

// Validate asks for what can be read.
func (r *report) Validate() error {
	if len(r.Columns) == 0 {
		return errors.New("columnHeaders is missing")
	}
	for i, row := range r.Rows {
		if len(row) != len(r.Columns) {
			return fmt.Errorf("rows[%d] has %d values for %d columns", i, len(row), len(r.Columns))
		}
	}
	return nil
}

// errorBody is how both kinds of endpoint say what went wrong: an object, or the
// one word of OAuth.
type errorBody struct {
	Error json.RawMessage `json:"error"`
}

type errorObject struct {
	Message string `json:"message"`
	Status  string `json:"status"`
	Errors  []struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"errors"`
	Details []struct {
		Reason string `json:"reason"`
	} `json:"details"`
}
