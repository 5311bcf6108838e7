// Writes, lists, reads, presigns and deletes the keys on stdin, a JSON list, in the named bucket.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func main() {
	var keys []string
	if err := json.NewDecoder(os.Stdin).Decode(&keys); err != nil {
		panic(err)
	}
	client := s3.New(s3.Options{
		Region:       os.Getenv("AWS_DEFAULT_REGION"),
		BaseEndpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL")),
		UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(
			os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	for _, key := range keys {
		if err := check(client, aws.String(os.Args[1]), key); err != nil {
			fmt.Fprintf(os.Stderr, "%q: %v\n", key, err)
			os.Exit(1)
		}
	}
}

func check(client *s3.Client, bucket *string, key string) error {
	ctx := context.Background()
	input := &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(key)}
	if _, err := client.PutObject(ctx, input); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	list, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &key})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if len(list.Contents) == 0 || *list.Contents[0].Key != key {
		return fmt.Errorf("list returned other keys")
	}
	get := &s3.GetObjectInput{Bucket: bucket, Key: &key}
	object, err := client.GetObject(ctx, get)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if err := expect(object.Body, key); err != nil {
		return err
	}
	url, err := s3.NewPresignClient(client).PresignGetObject(ctx, get)
	if err != nil {
		return fmt.Errorf("presign: %w", err)
	}
	response, err := http.Get(url.URL)
	if err != nil {
		return fmt.Errorf("presigned get: %w", err)
	}
	if err := expect(response.Body, key); err != nil {
		return err
	}
	_, err = client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key})
	return err
}

func expect(body io.ReadCloser, content string) error {
	defer body.Close()
	read, err := io.ReadAll(body)
	if err == nil && string(read) != content {
		err = fmt.Errorf("read %q", read)
	}
	return err
}
