import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.Environment;
import software.amazon.awssdk.services.lambda.model.LogType;
import software.amazon.awssdk.services.lambda.model.ResourceNotFoundException;

/**
 * A function's life as the AWS SDK for Java v2 drives it: create, wait, invoke, update, delete.
 * Arguments: name, file of the first zip, file of the second. Prints one JSON document of what was seen.
 */
public final class Flow {
  private static LambdaClient client;
  private static String name;

  private static String invoke(String event) {
    var answer =
        client.invoke(
            r -> r.functionName(name).payload(SdkBytes.fromUtf8String(event)).logType(LogType.TAIL));
    var body = answer.payload().asUtf8String();
    return body.substring(0, body.length() - 1)
        + ", \"tail\": " + (answer.logResult() != null)
        + ", \"ran\": \"" + answer.executedVersion() + "\"}";
  }

  private static SdkBytes file(String path) throws Exception {
    return SdkBytes.fromByteArray(Files.readAllBytes(Path.of(path)));
  }

  private static Environment colour(String value) {
    return Environment.builder().variables(Map.of("COLOUR", value)).build();
  }

  public static void main(String[] arguments) throws Exception {
    name = arguments[0];
    var first = file(arguments[1]);
    var second = file(arguments[2]);
    client = LambdaClient.create();
    var created =
        client.createFunction(
            r ->
                r.functionName(name)
                    .runtime("python3.11")
                    .handler("app.handler")
                    .role("arn:aws:iam::000000000000:role/test")
                    .code(c -> c.zipFile(first))
                    .environment(colour("blue")));
    try (var waiter = client.waiter()) {
      waiter.waitUntilFunctionActiveV2(r -> r.functionName(name));
      var before = invoke("{\"n\": 1}");
      client.updateFunctionCode(r -> r.functionName(name).zipFile(second));
      waiter.waitUntilFunctionUpdatedV2(r -> r.functionName(name));
      client.updateFunctionConfiguration(r -> r.functionName(name).environment(colour("red")));
      waiter.waitUntilFunctionUpdatedV2(r -> r.functionName(name));
      var after = invoke("{\"n\": 2}");
      client.deleteFunction(r -> r.functionName(name));
      try {
        invoke("{}");
        throw new AssertionError("a deleted function was not refused");
      } catch (ResourceNotFoundException gone) {
        System.out.printf(
            "{\"created\": \"%s\", \"first\": %s, \"second\": %s,"
                + " \"gone\": {\"code\": \"%s\", \"message\": \"%s\", \"status\": %d}}%n",
            created.stateAsString(),
            before,
            after,
            gone.awsErrorDetails().errorCode(),
            gone.awsErrorDetails().errorMessage(),
            gone.statusCode());
      }
    }
  }
}
