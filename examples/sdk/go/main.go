// Reads the token that apicred stores in a mounted Secret.
//
// TokenFile is a credential for the Azure SDK (azcore.TokenCredential). Transport is the same for net/http. Both read the
// file again, so a renewed token is used without a restart.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// TokenFile is the path of a mounted token.json: token and expiry come from the same update.
type TokenFile string

var _ azcore.TokenCredential = TokenFile("")

// GetToken reads the file. The scopes are those of the ApiCredential.
func (f TokenFile) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	var fields struct {
		AccessToken string    `json:"access_token"`
		ExpiresAt   time.Time `json:"expires_at"`
	}
	data, err := os.ReadFile(string(f))
	if err != nil {
		return azcore.AccessToken{}, err
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return azcore.AccessToken{}, fmt.Errorf("%s is not a token.json", f)
	}
	return azcore.AccessToken{Token: fields.AccessToken, ExpiresOn: fields.ExpiresAt}, nil
}

// Transport adds the token to each request.
type Transport struct {
	Credential azcore.TokenCredential
	Base       http.RoundTripper
}

// RoundTrip sends a request. If the API refuses the token, the file may be newer: it is read again, and the request is sent
// once more if its body can be sent again.
func (t Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.send(request)
	again := request.Body == nil || request.GetBody != nil
	if err != nil || response.StatusCode != http.StatusUnauthorized || !again {
		return response, err
	}
	response.Body.Close()
	return t.send(request)
}

func (t Transport) send(request *http.Request) (*http.Response, error) {
	token, err := t.Credential.GetToken(request.Context(), policy.TokenRequestOptions{})
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	if request.GetBody != nil {
		if request.Body, err = request.GetBody(); err != nil {
			return nil, err
		}
	}
	request.Header.Set("Authorization", "Bearer "+token.Token)
	return t.Base.RoundTrip(request)
}

func main() {
	file := TokenFile("/var/run/token/token.json")
	if path := os.Getenv("TOKEN_FILE"); path != "" {
		file = TokenFile(path)
	}
	client := http.Client{Transport: Transport{file, http.DefaultTransport}, Timeout: 30 * time.Second}
	for _, url := range os.Args[1:] {
		response, err := client.Get(url)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		response.Body.Close()
		fmt.Println(response.StatusCode)
	}
}
