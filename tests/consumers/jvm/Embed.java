import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.zip.ZipFile;

/**
 * Embeds texts with ONNX Runtime's and DJL's Java libraries, by the rules of a program that wraps
 * them: RULES FOLDER [SETTING ...] < texts > vectors. A line of input is a text in Base64.
 *
 * <p>Sources: OnnxBertBiEncoder (LangChain4j), TransformersEmbeddingModel (Spring AI),
 * HuggingFaceEmbedder (Vespa), ONNXSentenceTransformerTextEmbeddingTranslator (ML Commons).
 */
final class Embed {
  private static final OrtEnvironment ENVIRONMENT = OrtEnvironment.getEnvironment();

  public static void main(String[] arguments) throws Exception {
    List<String> texts = new ArrayList<>();
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      texts.add(new String(Base64.getDecoder().decode(line), StandardCharsets.UTF_8));
    }
    Path folder = Path.of(arguments[1]);
    List<float[]> vectors =
        switch (arguments[0]) {
          case "langchain4j" -> langChain4j(folder, arguments[2], texts);
          case "springai" -> springAi(folder, texts);
          case "vespa" -> vespa(folder, Integer.parseInt(arguments[2]), texts);
          case "opensearch" -> openSearch(folder, arguments[2], arguments[3], arguments[4], texts);
          default -> throw new IllegalArgumentException(arguments[0]);
        };
    for (float[] vector : vectors) {
      System.out.println(Arrays.toString(vector));
    }
  }

  /** Reads a text without padding; pools output 0 and normalizes. */
  private static List<float[]> langChain4j(Path folder, String pooling, List<String> texts)
      throws Exception {
    var tokenizer =
        HuggingFaceTokenizer.newInstance(
            folder.resolve("tokenizer.json"), Map.of("padding", "false"));
    List<float[]> vectors = new ArrayList<>();
    try (var session = ENVIRONMENT.createSession(folder.resolve("model.onnx").toString())) {
      for (String text : texts) {
        List<String> tokens = tokenizer.tokenize(text);
        // Without the first and the last, which it takes for special ones.
        String again = tokenizer.buildSentence(tokens.subList(1, tokens.size() - 1));
        Encoding encoding = tokenizer.encode(again, true, false);
        try (var result = run(session, List.of(encoding), true)) {
          float[][] rows = ((float[][][]) result.get(0).getValue())[0];
          vectors.add(unit(pooling.equals("CLS") ? rows[0] : mean(rows, rows.length)));
        }
      }
    }
    return vectors;
  }

  /** Reads a padded batch; takes the mean of the output last_hidden_state, without normalizing. */
  private static List<float[]> springAi(Path folder, List<String> texts) throws Exception {
    List<float[]> vectors = new ArrayList<>();
    byte[] graph = Files.readAllBytes(folder.resolve("model.onnx"));
    try (var tokens = Files.newInputStream(folder.resolve("tokenizer.json"));
        var tokenizer = HuggingFaceTokenizer.newInstance(tokens, Map.of("padding", "true"));
        var session = ENVIRONMENT.createSession(graph)) {
      for (int start = 0; start < texts.size(); start += 16) {
        var batch = texts.subList(start, Math.min(start + 16, texts.size()));
        List<Encoding> encodings = List.of(tokenizer.batchEncode(batch));
        try (var result = run(session, encodings, true)) {
          float[][][] rows = (float[][][]) result.get("last_hidden_state").get().getValue();
          for (int i = 0; i < rows.length; i++) {
            long[] mask = encodings.get(i).getAttentionMask();
            vectors.add(mean(rows[i], (int) Arrays.stream(mask).sum()));
          }
        }
      }
    }
    return vectors;
  }

  /** Has at most three inputs; takes an output of rank 2 as it is. */
  private static List<float[]> vespa(Path folder, int maxTokens, List<String> texts)
      throws Exception {
    var tokenizer =
        HuggingFaceTokenizer.builder()
            .optTokenizerPath(folder.resolve("tokenizer.json"))
            .optAddSpecialTokens(true)
            .optPadding(false)
            .optTruncation(true)
            .optMaxLength(maxTokens)
            .build();
    List<float[]> vectors = new ArrayList<>();
    try (var session = ENVIRONMENT.createSession(folder.resolve("model.onnx").toString())) {
      boolean hasTypes = session.getNumInputs() > 2;
      for (String text : texts) {
        try (var result = run(session, List.of(tokenizer.encode(text)), hasTypes)) {
          vectors.add(((float[][]) result.get("sentence_embedding").get().getValue())[0]);
        }
      }
    }
    return vectors;
  }

  /** Unpacks a zip; sends token types by the model's type, and pools output 0 or takes output 1. */
  private static List<float[]> openSearch(
      Path folder, String modelType, String pooling, String normalizes, List<String> texts)
      throws Exception {
    Path unpacked = Files.createTempDirectory("opensearch");
    try (var zip = new ZipFile(folder.resolve("opensearch/model.zip").toFile())) {
      for (var entry : zip.stream().collect(Collectors.toList())) {
        Files.copy(zip.getInputStream(entry), unpacked.resolve(entry.getName()));
      }
    }
    var tokenizer =
        HuggingFaceTokenizer.builder()
            .optPadding(true)
            .optTokenizerPath(unpacked.resolve("tokenizer.json"))
            .build();
    boolean hasTypes = modelType.equals("bert") || modelType.equals("albert");
    List<float[]> vectors = new ArrayList<>();
    try (var session = ENVIRONMENT.createSession(unpacked.resolve("model.onnx").toString())) {
      for (String text : texts) {
        Encoding encoding = tokenizer.encode(text);
        try (var result = run(session, List.of(encoding), hasTypes)) {
          float[] vector;
          if (pooling.equals("NONE")) {
            vector = ((float[][]) result.get(1).getValue())[0];
          } else {
            float[][] rows = ((float[][][]) result.get(0).getValue())[0];
            vector = pooling.equals("CLS") ? rows[0] : mean(rows, rows.length);
          }
          vectors.add(normalizes.equals("true") ? unit(vector) : vector);
        }
      }
    }
    return vectors;
  }

  private static OrtSession.Result run(
      OrtSession session, List<Encoding> encodings, boolean sendsTypes) throws Exception {
    var inputs = new HashMap<String, OnnxTensor>();
    inputs.put("input_ids", tensor(encodings.stream().map(Encoding::getIds)));
    inputs.put("attention_mask", tensor(encodings.stream().map(Encoding::getAttentionMask)));
    if (sendsTypes && session.getInputNames().contains("token_type_ids")) {
      inputs.put("token_type_ids", tensor(encodings.stream().map(Encoding::getTypeIds)));
    }
    return session.run(inputs);
  }

  private static OnnxTensor tensor(java.util.stream.Stream<long[]> rows) throws Exception {
    return OnnxTensor.createTensor(ENVIRONMENT, rows.toArray(long[][]::new));
  }

  /** Returns the mean of the first rows, which are those of tokens. */
  private static float[] mean(float[][] rows, int count) {
    float[] sum = new float[rows[0].length];
    for (int row = 0; row < count; row++) {
      for (int i = 0; i < sum.length; i++) {
        sum[i] += rows[row][i] / count;
      }
    }
    return sum;
  }

  private static float[] unit(float[] vector) {
    double square = 0;
    for (float value : vector) {
      square += value * value;
    }
    float[] result = new float[vector.length];
    for (int i = 0; i < vector.length; i++) {
      result[i] = (float) (vector[i] / Math.sqrt(square));
    }
    return result;
  }
}
