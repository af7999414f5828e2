"""Search engines and databases that compute embeddings."""

from embconvert.manifest.consumers.libraries import ON_THE_JVM
from embconvert.manifest.consumers.records import TWO_INPUTS, Consumer, Evidence, Run
from embconvert.models.choices import TOKEN_TYPES, Layout, Output, PoolingMode
from embconvert.models.kinds import TOKEN_LOGITS

_THREE = (*TWO_INPUTS, TOKEN_TYPES)
_VESPA = ("2026-08-22", "1f79d33dd01")

ENGINES: tuple[Consumer, ...] = (
    # OnnxModelFile takes any *.onnx in the folder, and OnnxEmbedModel casts output 0 to
    # float[][][]; config.json must have hidden_size.
    Consumer(
        name="Nixiesearch",
        layout=Layout.NIXIESEARCH,
        may_send=(TOKEN_TYPES, "position_ids"),
        reads="output 0",
        rank=3,
        pools=(PoolingMode.MEAN, PoolingMode.CLS, PoolingMode.LASTTOKEN),
        outputs=(Output.BOTH,),
        files=("tokenizer.json", "config.json"),
        oldest_onnxruntime=(1, 23),
        newest_onnxruntime=(1, 23),
        source=Evidence("nixiesearch/nixiesearch", "OnnxEmbedModel.scala", "2026-01-06", "31bc0a8"),
        runs=(Run("onnxruntime 1.23", "test_nixiesearch_by_its_rules", True),),
        remark="`pooling: last` counts tokens from the left: texts must be padded on the right.",
    ),
    Consumer(
        name="Vespa: colbert-embedder",
        layout=Layout.VESPA,
        takes="token_embeddings",
        sends=TWO_INPUTS,
        may_send=(),
        reads="`token_embeddings`, set as `transformer-output`",
        rank=3,
        fills_queries=True,
        external_data=False,
        newest_onnxruntime=(1, 29),
        source=Evidence("vespa-engine/vespa", "ColBertEmbedder.java", *_VESPA),
        remark=(
            "It leaves punctuation out of documents before the model reads them, and never "
            "attends to the tokens that fill a query, so vectors differ from the source's. Each "
            "marker must be one token; set its id if it is not 1 (queries) or 2 (documents)."
        ),
    ),
    Consumer(
        name="Vespa: splade-embedder",
        layout=Layout.VESPA,
        takes=TOKEN_LOGITS,
        sends=_THREE,
        may_send=(),
        reads="`logits`",
        rank=3,
        outputs=(Output.LOGITS,),
        external_data=False,
        newest_onnxruntime=(1, 29),
        source=Evidence("vespa-engine/vespa", "SpladeEmbedder.java", *_VESPA),
        remark="It pools by the maximum of log(1 + relu(x)), whatever the model's modules say.",
    ),
    # With `path`, services.xml names one file, and only this file is distributed.
    Consumer(
        name="Vespa: hugging-face-embedder",
        layout=Layout.VESPA,
        sends=TWO_INPUTS,
        external_data=False,
        newest_onnxruntime=(1, 29),
        source=Evidence("vespa-engine/vespa", "HuggingFaceEmbedder.java", *_VESPA),
        runs=(ON_THE_JVM,),
        remark="With `pooling-strategy` none, which is right for every embedding model.",
    ),
    # build.gradle forces ONNX Runtime 1.16.3.
    Consumer(
        name="OpenSearch ML Commons",
        layout=Layout.OPENSEARCH,
        sends=TWO_INPUTS,
        reads="output 0; output 1 with `pooling_mode` NONE, since 3.6",
        outputs=(Output.BOTH,),
        external_data=False,
        newest_onnxruntime=(1, 16),
        source=Evidence(
            "opensearch-project/ml-commons",
            "ONNXSentenceTransformerTextEmbeddingTranslator.java",
            "2026-08-20",
            "950f05600",
        ),
        runs=(ON_THE_JVM,),
        remark="It sends token types if `model_type` is bert or albert, as `register.json` says.",
    ),
    Consumer(
        name="Chroma: ONNXMiniLM_L6_V2",
        layout=Layout.CHROMA,
        sends=_THREE,
        may_send=(),
        reads="output 0",
        rank=3,
        pools=(PoolingMode.MEAN,),
        normalizes=True,
        outputs=(Output.BOTH,),
        files=(
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "config.json",
            "vocab.txt",
        ),
        source=Evidence("chroma-core/chroma", "onnx_mini_lm_l6_v2.py", "2026-08-22", "93652ec08"),
        runs=(Run("onnxruntime 1.23", "test_chroma_by_its_rules", True),),
        remark=(
            "A subclass names the folder by `DOWNLOAD_PATH` and `EXTRACTED_FOLDER_NAME`. It cuts "
            "texts at 256 tokens, and fills with tokens of id 0."
        ),
    ),
    Consumer(
        name="Milvus: OnnxEmbeddingFunction",
        layout=Layout.MILVUS,
        sends=_THREE,
        may_send=(),
        reads="output 0",
        rank=3,
        pools=(PoolingMode.MEAN,),
        normalizes=True,
        outputs=(Output.BOTH,),
        files=("tokenizer.json", "tokenizer_config.json", "config.json"),
        external_data=False,
        source=Evidence("milvus-io/milvus-model", "onnx.py", "2025-03-31", "2fe97ac"),
        runs=(
            Run(
                "onnxruntime 1.32, transformers 4.57",
                "test_programs_that_send_token_types_by_their_rules",
                True,
            ),
        ),
        remark="It loads from the hub only, and the tokenizer must give token types.",
    ),
    Consumer(
        name="memsearch",
        layout=Layout.SINGLEFILE,
        sends=TWO_INPUTS,
        reads="`last_hidden_state`",
        rank=3,
        pools=(PoolingMode.CLS,),
        normalizes=True,
        source=Evidence("zilliztech/memsearch", "onnx.py", "2026-08-22", "72c7c3a"),
        remark="It loads from the hub only.",
    ),
    Consumer(
        name="Weaviate: t2v-transformers-models",
        layout=Layout.TRANSFORMERSJS,
        reads="output 0",
        rank=3,
        pools=(PoolingMode.MEAN,),
        normalizes=True,
        files=("tokenizer.json", "config.json"),
        newest_onnxruntime=(1, 22),
        source=Evidence(
            "weaviate/t2v-transformers-models", "vectorizer.py", "2025-11-07", "0137694"
        ),
        remark="It looks for `model_quantized.onnx` at the root: copy it there from `onnx/`.",
    ),
    Consumer(
        name="SQL Server 2025",
        layout=Layout.SINGLEFILE,
        reads="not documented",
        oldest_onnxruntime=(1, 19),
        source=Evidence("learn.microsoft.com", "CREATE EXTERNAL MODEL", "2026-11-28"),
        remark=(
            "On Windows; closed source. Compare some vectors with those of the card's code before "
            "you index."
        ),
    ),
    Consumer(
        name="Oracle Database 23ai, 26ai",
        layout=Layout.SINGLEFILE,
        sends=("strings",),
        may_send=(),
        reads="`embedding`, or the one that `embeddingOutput` names",
        rank=2,
        files=(),
        external_data=False,
        source=Evidence("docs.oracle.com", "LOAD_ONNX_MODEL Procedure", "2026-11-28"),
        remark=(
            "The tokenizer must be in the graph (`--tokenizer in_graph`), which has at most 2 GB "
            "(before 26ai 1 GB)."
        ),
    ),
    Consumer(
        name="Elasticsearch",
        layout=None,
        source=Evidence("elastic/eland", "transformers.py", "2026-04-01", "02e9eb5"),
        remark=(
            "It runs TorchScript only, which eland makes of the source model. Serve a converted "
            "model with text-embeddings-inference, or embed in your own program, and index the "
            "vectors as `dense_vector`."
        ),
    ),
    Consumer(
        name="Redis",
        layout=None,
        source=Evidence("redis/redis-vl-python", "custom.py", "2026-08-20", "0f640978"),
        remark="It stores vectors. Embed in your own program (RedisVL's `CustomVectorizer`).",
    ),
    Consumer(
        name="PostgreSQL: pgvector, pgai",
        layout=None,
        source=Evidence("timescale/pgai", "embedders", "2025-12-17", "3e054856"),
        remark="They store vectors or call services. Serve the model, or embed in your program.",
    ),
)
