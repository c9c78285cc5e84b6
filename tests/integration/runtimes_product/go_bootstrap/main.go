// A bootstrap made with the published Go client: it answers, fails, panics, exits and streams on request.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type request struct {
	Do    string `json:"do"`
	Value any    `json:"value"`
}

func handle(ctx context.Context, event json.RawMessage) (any, error) {
	var asked request
	if err := json.Unmarshal(event, &asked); err != nil {
		return nil, err
	}
	fmt.Println("asked to", asked.Do)
	switch asked.Do {
	case "echo":
		return asked.Value, nil
	case "context":
		known, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"id": known.AwsRequestID, "arn": known.InvokedFunctionArn, "name": lambdacontext.FunctionName,
			"mb": lambdacontext.MemoryLimitInMB, "left_ms": time.Until(deadline).Milliseconds(),
			"custom": known.ClientContext.Custom,
		}, nil
	case "error":
		return nil, errors.New("as asked")
	case "panic":
		panic("at once")
	case "exit":
		os.Exit(3)
	case "stream":
		return io.MultiReader(strings.NewReader(`{"streamed":`), strings.NewReader(`true}`)), nil
	}
	return nil, fmt.Errorf("nothing is known of %q", asked.Do)
}

func main() {
	lambda.Start(handle)
}
