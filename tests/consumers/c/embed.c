/* Embeds texts through ONNX Runtime's C API, which its C++, C#, Go, Rust and Swift libraries wrap.
 *
 * embed LIBRARY GRAPH < tokens > vectors
 * embed LIBRARY GRAPH EXTENSIONS < texts > vectors
 *
 * A line of tokens has their number, then their ids. With onnxruntime-extensions' library, the
 * graph reads texts: a line with the number of a text's bytes, then the bytes. A line of output has
 * an embedding.
 *
 * OrtApi is a table of functions to which releases only append, so a function's place never
 * changes. No package here has its header, so the places that are used are declared below.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SESSION_GET_INPUT_COUNT = 30,
  CREATE_TENSOR = 48,
  CREATE_TENSOR_WITH_DATA = 49,
  GET_TENSOR_MUTABLE_DATA = 51,
  FILL_STRING_TENSOR = 52,
  GET_TENSOR_SHAPE_ELEMENT_COUNT = 64,
  GET_TENSOR_TYPE_AND_SHAPE = 65,
  CREATE_CPU_MEMORY_INFO = 69,
  GET_ALLOCATOR = 78,
  REGISTER_CUSTOM_OPS_LIBRARY_V2 = 228,
};
enum { API_VERSION = 15, WARNING = 2, INT64 = 7, STRING = 8, MOST_TOKENS = 100000 };

typedef struct {
  void **(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} ApiBase;

static void **api;

/* The arguments of these functions, all of which return a status: NULL is success. */
typedef void *(*CreateEnv)(int, const char *, void **);
typedef void *(*CreateSession)(void *, const char *, void *, void **);
typedef void *(*Run)(void *, void *, const char *const *, void *const *, size_t,
                     const char *const *, size_t, void **);
typedef void *(*CreateTensor)(void *, const int64_t *, size_t, int, void **);
typedef void *(*CreateTensorWithData)(void *, void *, size_t, const int64_t *, size_t, int,
                                      void **);
typedef void *(*CreateMemoryInfo)(int, int, void **);
typedef void *(*Create)(void **);
typedef void *(*Count)(void *, size_t *);
typedef void *(*Get)(void *, void **);
typedef void *(*FillStrings)(void *, const char *const *, size_t);
typedef void *(*RegisterLibrary)(void *, const char *);

static void check(void *status) {
  if (status == NULL) return;
  fprintf(stderr, "%s\n", ((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
  exit(1);
}

static void run(void *session, const char *const *in, void *const *values, size_t inputs,
                const char *out) {
  void *output = NULL, *info;
  check(((Run)api[RUN])(session, NULL, in, values, inputs, &out, 1, &output));
  float *vector;
  size_t size;
  check(((Get)api[GET_TENSOR_MUTABLE_DATA])(output, (void **)&vector));
  check(((Get)api[GET_TENSOR_TYPE_AND_SHAPE])(output, &info));
  check(((Count)api[GET_TENSOR_SHAPE_ELEMENT_COUNT])(info, &size));
  for (size_t i = 0; i < size; i++) printf("%.9g ", vector[i]);
  printf("\n");
}

static int embed_tokens(void *session) {
  static int64_t ids[MOST_TOKENS], mask[MOST_TOKENS], types[MOST_TOKENS];
  const char *in[] = {"input_ids", "attention_mask", "token_type_ids"};
  int64_t *data[] = {ids, mask, types};
  void *memory;
  size_t inputs, count;
  check(((CreateMemoryInfo)api[CREATE_CPU_MEMORY_INFO])(0, 0, &memory));
  check(((Count)api[SESSION_GET_INPUT_COUNT])(session, &inputs));
  while (scanf("%zu", &count) == 1 && count <= MOST_TOKENS) {
    for (size_t i = 0; i < count; i++) {
      if (scanf("%ld", &ids[i]) != 1) return 1;
      mask[i] = 1;
    }
    const int64_t shape[] = {1, (int64_t)count};
    void *values[3];
    for (size_t i = 0; i < inputs && i < 3; i++) {
      check(((CreateTensorWithData)api[CREATE_TENSOR_WITH_DATA])(
          memory, data[i], count * sizeof(int64_t), shape, 2, INT64, &values[i]));
    }
    run(session, in, values, inputs, "sentence_embedding");
  }
  return 0;
}

static int embed_texts(void *session) {
  const char *in[] = {"input"};
  const int64_t shape[] = {1};
  void *allocator, *value;
  size_t bytes;
  check(((Create)api[GET_ALLOCATOR])(&allocator));
  while (scanf("%zu", &bytes) == 1) {
    char *text = calloc(bytes + 1, 1);
    if (text == NULL || getchar() != '\n' || fread(text, 1, bytes, stdin) != bytes) return 1;
    check(((CreateTensor)api[CREATE_TENSOR])(allocator, shape, 1, STRING, &value));
    check(((FillStrings)api[FILL_STRING_TENSOR])(value, (const char *const *)&text, 1));
    run(session, in, &value, 1, "embedding");
    free(text);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) return 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  ApiBase *(*get_base)(void) = (ApiBase * (*)(void)) dlsym(library, "OrtGetApiBase");
  api = get_base()->get_api(API_VERSION);
  fprintf(stderr, "ONNX Runtime %s\n", get_base()->get_version());

  void *env, *options, *session;
  check(((CreateEnv)api[CREATE_ENV])(WARNING, "embed", &env));
  check(((Create)api[CREATE_SESSION_OPTIONS])(&options));
  if (argc == 4) {
    check(((RegisterLibrary)api[REGISTER_CUSTOM_OPS_LIBRARY_V2])(options, argv[3]));
  }
  check(((CreateSession)api[CREATE_SESSION])(env, argv[2], options, &session));
  return argc == 4 ? embed_texts(session) : embed_tokens(session);
}
