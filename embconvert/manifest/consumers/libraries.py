"""Libraries and servers that compute embeddings."""

from embconvert.manifest.consumers.records import TWO_INPUTS, Consumer, Evidence, Run
from embconvert.models.choices import TOKEN_TYPES, Layout, Output, PoolingMode
from embconvert.models.kinds import TOKEN_LOGITS

_MEAN_OR_CLS = (PoolingMode.MEAN, PoolingMode.CLS)
_TRANSFORMERS_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json")
#: What programs in Java wrap.
ON_THE_JVM = Run(
    "ONNX Runtime 1.17 and DJL's tokenizers 0.34 for Java", "test_programs_on_the_jvm", True
)
#: What libraries of other languages wrap.
IN_C = Run("onnxruntime 1.23's C API, gcc", "test_the_c_api")

LIBRARIES: tuple[Consumer, ...] = (
    Consumer(
        name="ONNX Runtime (Python)",
        layout=Layout.HUB,
        reads="any",
        runs=(
            Run(
                "onnxruntime 1.15, 1.21 and 1.23, tokenizers 0.23",
                "test_tokenizers_and_onnxruntime_at_each_oldest_version_that_is_stamped",
            ),
            Run(
                "onnxruntime 1.17, with `--min_onnxruntime`",
                "test_onnxruntime_1_17_runs_what_is_made_for_it",
            ),
        ),
    ),
    Consumer(
        name="ONNX Runtime (C)",
        layout=Layout.HUB,
        reads="any",
        runs=(
            IN_C,
            Run(
                "onnxruntime 1.32's with onnxruntime-extensions 0.15, from texts",
                "test_the_c_api_with_the_tokenizer_in_the_graph",
            ),
        ),
        remark="Libraries for C++, C#, Go, Rust and Swift wrap it. The first test tokenizes in "
        "Python; the second loads a folder of `singlefile` with `--tokenizer in_graph`.",
    ),
    # GetInputOutputInfo gives the graph's inputs; its header has version 29 of the API.
    Consumer(
        name="onnxruntime_go",
        layout=Layout.HUB,
        reads="any",
        oldest_onnxruntime=(1, 29),
        source=Evidence("yalue/onnxruntime_go", "onnxruntime_go.go", "2026-08-18", "8ce7fa5"),
        runs=(Run(IN_C.program, IN_C.test, True),),
        remark="Run by hand on 2026-11-29, with Go 1.19 and ONNX Runtime 1.32, on the ids of three "
        "texts: QInt8 of all-MiniLM-L6-v2 gave cosines of 0.999. Go's tokenizers were not tried.",
    ),
    Consumer(
        name="ONNX Runtime (Java)",
        layout=Layout.HUB,
        reads="any",
        runs=(Run(ON_THE_JVM.program, ON_THE_JVM.test),),
        remark="The test loads folders of `langchain4j`, `opensearch`, `springai` and `vespa`.",
    ),
    Consumer(
        name="programs that read one file",
        layout=Layout.SINGLEFILE,
        reads="any",
        external_data=False,
        runs=(Run("onnxruntime 1.23, from memory", "test_programs_that_read_one_file"),),
    ),
    Consumer(
        name="sentence-transformers",
        layout=Layout.HUB,
        reads="by the folder's modules",
        files=("modules.json", *_TRANSFORMERS_FILES),
        runs=(Run("sentence-transformers 5.7.0", "test_sentence_transformers"),),
    ),
    Consumer(
        name="sentence-transformers: SparseEncoder",
        layout=Layout.HUB,
        takes=TOKEN_LOGITS,
        reads="`logits`",
        rank=3,
        outputs=(Output.LOGITS,),
        files=("modules.json", *_TRANSFORMERS_FILES),
        runs=(
            Run(
                "sentence-transformers 5.7.0", "test_the_code_on_the_card_of_a_sparse_models_logits"
            ),
        ),
        remark="The test loads a folder of `fastembed`, which has the same files.",
    ),
    Consumer(
        name="sentence-transformers: CrossEncoder",
        layout=Layout.HUB,
        reads="`logits`",
        files=_TRANSFORMERS_FILES,
        runs=(Run("sentence-transformers 5.7.0", "test_the_code_on_a_rerankers_card"),),
    ),
    Consumer(
        name="optimum",
        layout=Layout.HUB,
        reads="any, by `ORTModelForCustomTasks`",
        files=_TRANSFORMERS_FILES,
        runs=(Run("optimum-onnx 0.1.0", "test_the_code_on_the_model_card"),),
    ),
    # src/utils/dtypes.js and model-loader.js of 4.3: the suffix depends on the dtype, `_quantized`
    # for `q8` (the default in browsers). It contains ONNX Runtime 1.30 for Node.
    Consumer(
        name="transformers.js",
        layout=Layout.TRANSFORMERSJS,
        reads="`last_hidden_state`",
        outputs=(Output.BOTH,),
        files=_TRANSFORMERS_FILES,
        oldest_onnxruntime=(1, 30),
        newest_onnxruntime=(1, 30),
        source=Evidence("huggingface/transformers.js", "dtypes.js", "2026-05-17", "5ed4c5c0"),
        runs=(
            Run("transformers.js 4.3 in Node", "test_transformers_js"),
            Run("transformers.js 4.3 in Chromium", "test_transformers_js_in_a_browser"),
        ),
    ),
    # model_file may name any file; the package allows ONNX Runtime from 1.17.
    Consumer(
        name="fastembed",
        layout=Layout.FASTEMBED,
        reads="output 0, or the one that `output_name` names",
        files=(*_TRANSFORMERS_FILES, "special_tokens_map.json"),
        oldest_onnxruntime=(1, 17),
        source=Evidence("qdrant/fastembed", "onnx_model.py", "2026-08-19", "c48247f"),
        runs=(
            Run("fastembed 0.9.1", "test_fastembed"),
            Run(
                "fastembed 0.9.1's sparse models",
                "test_the_code_on_the_card_of_a_sparse_models_logits",
            ),
        ),
    ),
    # text_embedding/output.rs: the only output, or last_hidden_state before sentence_embedding;
    # embedding_output.rs pools it, and leaves vectors of texts as they are with Cls, the default.
    # The `ort` crate (2.0.0-rc.13, api-24) needs ONNX Runtime 1.24.
    Consumer(
        name="fastembed-rs",
        layout=Layout.FASTEMBED,
        may_send=(TOKEN_TYPES, "position_ids"),
        reads="the only output, else `last_hidden_state`, or the one that `output_key` names",
        normalizes=True,
        files=(*_TRANSFORMERS_FILES, "special_tokens_map.json"),
        oldest_onnxruntime=(1, 24),
        source=Evidence("Anush008/fastembed-rs", "output.rs", "2026-08-16", "045d591"),
        remark=(
            "Convert with `--output sentence`, or set `output_key` to `sentence_embedding`; with "
            "`Pooling::Cls`, the default, embeddings stay as they are."
        ),
    ),
    Consumer(
        name="OpenVINO",
        layout=Layout.OPENVINO,
        reads="any, or in sentence-transformers `last_hidden_state` or `logits`",
        outputs=(Output.BOTH, Output.LOGITS),
        source=Evidence("openvinotoolkit/openvino", "_ov_api.py", "2026-11-28", "2026.4.1"),
        runs=(Run("OpenVINO 2026.4", "test_the_code_on_the_card_for_openvino"),),
    ),
    # modeling.py: OVModelForFeatureExtraction reads last_hidden_state; modules pool it.
    Consumer(
        name="sentence-transformers (OpenVINO)",
        layout=Layout.OPENVINO,
        reads="`last_hidden_state`",
        rank=3,
        outputs=(Output.BOTH,),
        files=(*_TRANSFORMERS_FILES, "modules.json"),
        source=Evidence("huggingface/optimum-intel", "modeling.py", "2026-11-28", "v2.2.0"),
        runs=(Run("sentence-transformers 6.2", "test_sentence_transformers_on_openvino"),),
    ),
    Consumer(
        name="CrossEncoder (OpenVINO)",
        layout=Layout.OPENVINO,
        reads="`logits`",
        files=_TRANSFORMERS_FILES,
        source=Evidence("huggingface/optimum-intel", "modeling.py", "2026-11-28", "v2.2.0"),
        runs=(Run("sentence-transformers 6.2", "test_the_code_on_a_rerankers_card_for_openvino"),),
    ),
    # backends/ort/src/lib.rs: prefers model.onnx to onnx/model.onnx, and sentence_embedding to
    # last_hidden_state; reads fields of config.json. The `ort` crate (2.0.0-rc.10) contains ONNX
    # Runtime 1.22.
    Consumer(
        name="text-embeddings-inference",
        layout=Layout.TEI,
        may_send=(TOKEN_TYPES, "position_ids"),
        files=(*_TRANSFORMERS_FILES, "1_Pooling/config.json"),
        oldest_onnxruntime=(1, 22),
        newest_onnxruntime=(1, 22),
        source=Evidence("huggingface/text-embeddings-inference", "lib.rs", "2026-07-24", "0d124dc"),
        runs=(Run("onnxruntime 1.22", "test_text_embeddings_inference_by_its_rules", True),),
    ),
    Consumer(
        name="infinity",
        layout=Layout.TRANSFORMERSJS,
        reads="`last_hidden_state`",
        rank=3,
        pools=_MEAN_OR_CLS,
        normalizes=True,
        files=_TRANSFORMERS_FILES,
        source=Evidence("michaelfeil/infinity", "optimum.py", "2025-10-06", "fcb951c"),
        remark="On a CPU it takes a graph with `quantize` in its name.",
    ),
    # It casts output 0 to float[][][]; pom.xml has ONNX Runtime 1.20.0.
    Consumer(
        name="LangChain4j",
        layout=Layout.LANGCHAIN4J,
        sends=TWO_INPUTS,
        reads="output 0",
        rank=3,
        pools=_MEAN_OR_CLS,
        normalizes=True,
        outputs=(Output.BOTH,),
        newest_onnxruntime=(1, 20),
        source=Evidence(
            "langchain4j/langchain4j", "OnnxBertBiEncoder.java", "2026-08-21", "b8b809ed57"
        ),
        runs=(ON_THE_JVM,),
        remark=(
            "It takes the first and the last token for special ones, and averages the embeddings "
            "of parts of 510 tokens."
        ),
    ),
    # DJL's BOM brings ONNX Runtime 1.21.1.
    Consumer(
        name="Spring AI",
        layout=Layout.SPRINGAI,
        sends=TWO_INPUTS,
        reads="`last_hidden_state`, or the one that `modelOutputName` names",
        rank=3,
        pools=(PoolingMode.MEAN,),
        normalizes=False,
        outputs=(Output.BOTH,),
        external_data=False,
        newest_onnxruntime=(1, 21),
        source=Evidence(
            "spring-projects/spring-ai",
            "TransformersEmbeddingModel.java",
            "2026-08-21",
            "fd3fd6ec70",
        ),
        runs=(ON_THE_JVM,),
    ),
    Consumer(
        name="DJL",
        layout=Layout.SINGLEFILE,
        sends=TWO_INPUTS,
        reads="output 0",
        rank=3,
        pools=(*_MEAN_OR_CLS, PoolingMode.MAX, PoolingMode.MEAN_SQRT_LEN, PoolingMode.LASTTOKEN),
        newest_onnxruntime=(1, 21),
        source=Evidence(
            "deepjavalibrary/djl", "TextEmbeddingTranslator.java", "2026-07-15", "af1d0b804"
        ),
        remark="It sends token types with the argument `includeTokenTypes`.",
    ),
    # It copies an output 0 that is one vector; Directory.Packages.props has ONNX Runtime 1.23.2.
    Consumer(
        name="Semantic Kernel",
        layout=Layout.SEMANTICKERNEL,
        sends=(*TWO_INPUTS, TOKEN_TYPES),
        may_send=(),
        reads="output 0",
        outputs=(Output.SENTENCE,),
        files=("vocab.txt",),
        external_data=False,
        newest_onnxruntime=(1, 23),
        source=Evidence(
            "microsoft/semantic-kernel",
            "BertOnnxTextEmbeddingGenerationService.cs",
            "2026-08-20",
            "b39d95a344",
        ),
        runs=(Run("onnxruntime 1.23", "test_programs_that_send_token_types_by_their_rules", True),),
        remark=(
            "Its tokenizer is WordPiece: set `CaseSensitive` and `MaximumTokens` as the model. The "
            "test reads `vocab.txt` with tokenizers instead."
        ),
    ),
)
