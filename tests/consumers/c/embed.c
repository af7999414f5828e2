/* Embeds texts through ONNX Runtime's C API, which its C++, C#, Go, Rust and Swift libraries wrap.
 *
 * embed LIBRARY GRAPH < tokens > vectors
 *
 * A line of input has the number of tokens of a text, then their ids; a line of output has its
 * sentence_embedding.
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
  CREATE_TENSOR_WITH_DATA = 49,
  GET_TENSOR_MUTABLE_DATA = 51,
  GET_TENSOR_SHAPE_ELEMENT_COUNT = 64,
  GET_TENSOR_TYPE_AND_SHAPE = 65,
  CREATE_CPU_MEMORY_INFO = 69,
};
enum { API_VERSION = 15, WARNING = 2, INT64 = 7, MOST_TOKENS = 100000 };

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
typedef void *(*CreateTensor)(void *, void *, size_t, const int64_t *, size_t, int, void **);
typedef void *(*CreateMemoryInfo)(int, int, void **);
typedef void *(*Create)(void **);
typedef void *(*Count)(void *, size_t *);
typedef void *(*Get)(void *, void **);

static void check(void *status) {
  if (status == NULL) return;
  fprintf(stderr, "%s\n", ((const char *(*)(void *))api[GET_ERROR_MESSAGE])(status));
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  ApiBase *(*get_base)(void) = (ApiBase * (*)(void)) dlsym(library, "OrtGetApiBase");
  api = get_base()->get_api(API_VERSION);
  fprintf(stderr, "ONNX Runtime %s\n", get_base()->get_version());

  void *env, *options, *session, *memory;
  check(((CreateEnv)api[CREATE_ENV])(WARNING, "embed", &env));
  check(((Create)api[CREATE_SESSION_OPTIONS])(&options));
  check(((CreateSession)api[CREATE_SESSION])(env, argv[2], options, &session));
  check(((CreateMemoryInfo)api[CREATE_CPU_MEMORY_INFO])(0, 0, &memory));
  size_t inputs;
  check(((Count)api[SESSION_GET_INPUT_COUNT])(session, &inputs));

  static int64_t ids[MOST_TOKENS], mask[MOST_TOKENS], types[MOST_TOKENS];
  const char *in[] = {"input_ids", "attention_mask", "token_type_ids"};
  const char *out[] = {"sentence_embedding"};
  int64_t *data[] = {ids, mask, types};
  size_t count;
  while (scanf("%zu", &count) == 1 && count <= MOST_TOKENS) {
    for (size_t i = 0; i < count; i++) {
      if (scanf("%ld", &ids[i]) != 1) return 1;
      mask[i] = 1;
    }
    const int64_t shape[] = {1, (int64_t)count};
    void *values[3], *output = NULL, *info;
    for (size_t i = 0; i < inputs && i < 3; i++) {
      check(((CreateTensor)api[CREATE_TENSOR_WITH_DATA])(
          memory, data[i], count * sizeof(int64_t), shape, 2, INT64, &values[i]));
    }
    check(((Run)api[RUN])(session, NULL, in, values, inputs, out, 1, &output));
    float *vector;
    size_t size;
    check(((Get)api[GET_TENSOR_MUTABLE_DATA])(output, (void **)&vector));
    check(((Get)api[GET_TENSOR_TYPE_AND_SHAPE])(output, &info));
    check(((Count)api[GET_TENSOR_SHAPE_ELEMENT_COUNT])(info, &size));
    for (size_t i = 0; i < size; i++) printf("%.9g ", vector[i]);
    printf("\n");
  }
  return 0;
}
