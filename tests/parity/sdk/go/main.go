// A function's life as the AWS SDK for Go v2 drives it: create, wait, invoke, update, delete.
// Arguments: name, file of the first zip, file of the second. Prints one JSON document of what was seen.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func file(path string) []byte {
	content, err := os.ReadFile(path)
	check(err)
	return content
}

func main() {
	ctx := context.Background()
	name, first, second := os.Args[1], os.Args[2], os.Args[3]
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))
	check(err)
	client := lambda.NewFromConfig(loaded)
	seen := map[string]any{}

	invoke := func(event string) (map[string]any, error) {
		answer, err := client.Invoke(ctx, &lambda.InvokeInput{
			FunctionName: &name, Payload: []byte(event), LogType: types.LogTypeTail,
		})
		if err != nil {
			return nil, err
		}
		document := map[string]any{}
		check(json.Unmarshal(answer.Payload, &document))
		document["tail"] = aws.ToString(answer.LogResult) != ""
		document["ran"] = aws.ToString(answer.ExecutedVersion)
		return document, nil
	}
	updated := func() {
		waiter := lambda.NewFunctionUpdatedV2Waiter(client)
		check(waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, 30*time.Second))
	}

	created, err := client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name,
		Runtime:      types.Runtime("python3.11"),
		Handler:      aws.String("app.handler"),
		Role:         aws.String("arn:aws:iam::000000000000:role/test"),
		Code:         &types.FunctionCode{ZipFile: file(first)},
		Environment:  &types.Environment{Variables: map[string]string{"COLOUR": "blue"}},
	})
	check(err)
	seen["created"] = created.State
	waiter := lambda.NewFunctionActiveV2Waiter(client)
	check(waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, 30*time.Second))
	seen["first"], err = invoke(`{"n": 1}`)
	check(err)
	_, err = client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: file(second)})
	check(err)
	updated()
	_, err = client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name,
		Environment:  &types.Environment{Variables: map[string]string{"COLOUR": "red"}},
	})
	check(err)
	updated()
	seen["second"], err = invoke(`{"n": 2}`)
	check(err)
	_, err = client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name})
	check(err)
	_, err = invoke(`{}`)
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		check(fmt.Errorf("a deleted function was not refused as missing: %v", err))
	}
	seen["gone"] = map[string]any{"code": missing.ErrorCode(), "message": missing.ErrorMessage(), "status": 404}
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
