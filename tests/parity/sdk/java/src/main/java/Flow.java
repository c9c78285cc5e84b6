import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.retries.api.BackoffStrategy;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.AliasRoutingConfiguration;
import software.amazon.awssdk.services.lambda.model.CreateFunctionRequest;
import software.amazon.awssdk.services.lambda.model.Environment;
import software.amazon.awssdk.services.lambda.model.FunctionConfiguration;
import software.amazon.awssdk.services.lambda.model.LambdaException;
import software.amazon.awssdk.services.lambda.model.Layer;
import software.amazon.awssdk.services.lambda.model.LogType;
import software.amazon.awssdk.services.lambda.model.ResourceNotFoundException;
import software.amazon.awssdk.services.lambda.waiters.LambdaWaiter;

/**
 * A function's life as the AWS SDK for Java v2 drives it, from its layer to its deletion. Arguments: name, files of the
 * first zip, the second and the layer's. Prints one JSON document of what the SDK parsed.
 */
public final class Flow {
  private static LambdaClient client;
  private static String name;

  /** A JSON document that goes into the printed one as it is. */
  private record Raw(String json) {}

  private static String json(Object value) {
    if (value instanceof Raw raw) return raw.json();
    if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
    if (value instanceof Map<?, ?> map)
      return map.entrySet().stream()
          .map(entry -> json(entry.getKey()) + ":" + json(entry.getValue()))
          .collect(Collectors.joining(",", "{", "}"));
    if (value instanceof Collection<?> list)
      return list.stream().map(Flow::json).collect(Collectors.joining(",", "[", "]"));
    return '"' + value.toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  private static Map<String, Object> object(Object... pairs) {
    var made = new LinkedHashMap<String, Object>();
    for (int i = 0; i < pairs.length; i += 2) made.put((String) pairs[i], pairs[i + 1]);
    return made;
  }

  private static Raw invoke(String event, String qualifier) {
    var answer =
        client.invoke(
            r ->
                r.functionName(name)
                    .qualifier(qualifier)
                    .payload(SdkBytes.fromUtf8String(event))
                    .logType(LogType.TAIL));
    var body = answer.payload().asUtf8String();
    var more = object("tail", answer.logResult() != null, "ran", answer.executedVersion());
    return new Raw(body.substring(0, body.length() - 1) + "," + json(more).substring(1));
  }

  private static Map<String, Object> refusal(Supplier<Object> call, Class<? extends LambdaException> expected) {
    try {
      call.get();
    } catch (LambdaException refused) {
      if (!expected.isInstance(refused)) throw refused;
      return object(
          "code", refused.awsErrorDetails().errorCode(),
          "message", refused.awsErrorDetails().errorMessage(),
          "status", refused.statusCode());
    }
    throw new AssertionError("a call that had to be refused was not");
  }

  private static Environment colour(String value) {
    return Environment.builder().variables(Map.of("COLOUR", value)).build();
  }

  private static Map<String, Object> shown(FunctionConfiguration one) {
    return object(
        "arn", one.functionArn(),
        "version", one.version(),
        "runtime", one.runtimeAsString(),
        "memory", one.memorySize(),
        "timeout", one.timeout(),
        "ephemeral", one.ephemeralStorage().size(),
        "architectures", one.architecturesAsStrings(),
        "environment", one.environment().variables(),
        "layers", one.layers().stream().map(Layer::arn).toList(),
        "log", one.loggingConfig().applicationLogLevelAsString(),
        "tracing", one.tracingConfig().modeAsString(),
        "snap", one.snapStart().optimizationStatusAsString(),
        "size", one.codeSize(),
        "state", one.stateAsString(),
        "update", one.lastUpdateStatusAsString());
  }

  /** Answers that show a function have the same members and no type in common: they are read as one. */
  private static FunctionConfiguration configuration(software.amazon.awssdk.core.SdkPojo answer) {
    var builder = FunctionConfiguration.builder();
    var fields =
        builder.sdkFields().stream().collect(Collectors.toMap(field -> field.memberName(), field -> field));
    for (var field : answer.sdkFields()) {
      var target = fields.get(field.memberName());
      if (target != null) target.set(builder, field.getValueOrDefault(answer));
    }
    return builder.build();
  }

  private static AliasRoutingConfiguration weight(double value) {
    return AliasRoutingConfiguration.builder().additionalVersionWeights(Map.of("2", value)).build();
  }

  public static void main(String[] arguments) throws Exception {
    name = arguments[0];
    var files =
        Stream.of(arguments).skip(1).map(Path::of).map(Flow::bytes).toList();
    client = LambdaClient.create();
    var seen = new LinkedHashMap<String, Object>();
    try (var waiter =
        LambdaWaiter.builder()
            .client(client)
            .overrideConfiguration(
                c -> c.backoffStrategyV2(BackoffStrategy.fixedDelay(Duration.ofMillis(50))).maxAttempts(600))
            .build()) {
      life(seen, waiter, files.get(0), files.get(1), files.get(2));
    }
    System.out.println(json(seen));
  }

  private static SdkBytes bytes(Path path) {
    try {
      return SdkBytes.fromByteArray(Files.readAllBytes(path));
    } catch (java.io.IOException error) {
      throw new java.io.UncheckedIOException(error);
    }
  }

  private static void life(
      Map<String, Object> seen, LambdaWaiter waiter, SdkBytes first, SdkBytes second, SdkBytes words) {
    var layer =
        client.publishLayerVersion(
            r ->
                r.layerName(name)
                    .content(c -> c.zipFile(words))
                    .compatibleRuntimesWithStrings("python3.11")
                    .description("words"));
    seen.put(
        "layer",
        object(
            "arn", layer.layerVersionArn(),
            "version", layer.version(),
            "runtimes", layer.compatibleRuntimesAsStrings()));
    var wanted =
        CreateFunctionRequest.builder()
            .functionName(name)
            .runtime(System.getenv("PYTHON_RUNTIME"))
            .handler("app.handler")
            .role("arn:aws:iam::000000000000:role/test")
            .code(c -> c.zipFile(first))
            .environment(colour("blue"))
            .layers(layer.layerVersionArn())
            .memorySize(256)
            .ephemeralStorage(e -> e.size(1024))
            .loggingConfig(l -> l.logFormat("JSON"))
            .tags(Map.of("team", "blue"))
            .build();
    var created = client.createFunction(wanted);
    seen.put("created", shown(configuration(created)));
    seen.put(
        "taken",
        refusal(
            () -> client.createFunction(wanted),
            software.amazon.awssdk.services.lambda.model.ResourceConflictException.class));
    waiter.waitUntilFunctionActiveV2(r -> r.functionName(name));
    seen.put("first", invoke("{\"n\": 1}", null));
    seen.put("updated", shown(configuration(client.updateFunctionCode(r -> r.functionName(name).zipFile(second)))));
    waiter.waitUntilFunctionUpdatedV2(r -> r.functionName(name));
    client.updateFunctionConfiguration(r -> r.functionName(name).environment(colour("red")).timeout(9));
    waiter.waitUntilFunctionUpdatedV2(r -> r.functionName(name));
    seen.put("second", invoke("{\"n\": 2}", null));
    seen.put("read", shown(client.getFunction(r -> r.functionName(name)).configuration()));
    seen.put(
        "invalid",
        refusal(
            () -> client.updateFunctionConfiguration(r -> r.functionName(name).timeout(901)),
            software.amazon.awssdk.services.lambda.model.InvalidParameterValueException.class));

    seen.put("published", client.publishVersion(r -> r.functionName(name).description("one")).version());
    client.updateFunctionConfiguration(r -> r.functionName(name).environment(colour("green")));
    waiter.waitUntilFunctionUpdatedV2(r -> r.functionName(name));
    client.publishVersion(r -> r.functionName(name));
    waiter.waitUntilPublishedVersionActive(r -> r.functionName(name).qualifier("2"));
    seen.put(
        "versions",
        client.listVersionsByFunctionPaginator(r -> r.functionName(name).maxItems(2)).versions().stream()
            .map(FunctionConfiguration::version)
            .toList());
    var alias =
        client.createAlias(r -> r.functionName(name).name("live").functionVersion("1").routingConfig(weight(1.0)));
    seen.put(
        "alias",
        object(
            "arn", alias.aliasArn(),
            "version", alias.functionVersion(),
            "weights", alias.routingConfig().additionalVersionWeights()));
    seen.put("weighted", invoke("{\"n\": 3}", "live"));
    var moved =
        client.updateAlias(
            r -> r.functionName(name).name("live").routingConfig(weight(0.25)).revisionId(alias.revisionId()));
    seen.put("moved", moved.routingConfig().additionalVersionWeights());
    seen.put(
        "stale",
        refusal(
            () -> client.updateAlias(r -> r.functionName(name).name("live").revisionId(alias.revisionId())),
            software.amazon.awssdk.services.lambda.model.PreconditionFailedException.class));
    var permission =
        client.addPermission(
            r ->
                r.functionName(name)
                    .qualifier("live")
                    .statementId("bucket")
                    .action("lambda:InvokeFunction")
                    .principal("s3.amazonaws.com")
                    .sourceArn("arn:aws:s3:::bucket"));
    seen.put("statement", new Raw(permission.statement()));
    seen.put("policy", new Raw(client.getPolicy(r -> r.functionName(name).qualifier("live")).policy()));
    client.tagResource(r -> r.resource(created.functionArn()).tags(Map.of("stage", "test", "with space", "é")));
    client.untagResource(r -> r.resource(created.functionArn()).tagKeys("team", "unknown"));
    seen.put("tags", client.listTags(r -> r.resource(created.functionArn())).tags());

    client.deleteAlias(r -> r.functionName(name).name("live"));
    client.deleteFunction(r -> r.functionName(name));
    client.deleteLayerVersion(r -> r.layerName(name).versionNumber(layer.version()));
    seen.put("gone", refusal(() -> invoke("{}", null), ResourceNotFoundException.class));
  }
}
