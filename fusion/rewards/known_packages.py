"""Packages that programs of models import, by the name they are imported under; none of them is Python's own.

A program that needs one of these is not wrong where the sandbox lacks it. The list is closed, so that a verdict does
not depend on the machine: a name that is not in it is taken for invented.
"""

from __future__ import annotations

_NAMES = """
absl accelerate aiofiles aiohttp airflow alembic altair anthropic anyio arrow attr attrs autograd babel bcrypt Bio
bitarray black blosc bokeh boto3 botocore bottle bs4 cachetools catboost celery certifi cffi chardet
charset_normalizer chess clang click cloudpickle colorama coloredlogs construct Crypto cryptography cupy cv2 cvxopt
cvxpy cycler cython dash dask databases datasets dateparser dateutil deap decorator deepspeed diffusers dill
distributed django dns docker docopt docutils docx dotenv duckdb einops elasticsearch emoji evaluate faker falcon
fastapi fastparquet filelock flask flax folium fsspec ftfy fuzzywuzzy gensim geopandas geopy git gmpy2 google graphviz
grpc gurobipy gym gymnasium h5py haiku hdbscan holidays httpx huggingface_hub hydra hypothesis igraph imageio imblearn
inflect inflection intervaltree IPython jax jaxlib jieba jinja2 joblib jsonschema jwt kafka keras kiwisolver langchain
langdetect Levenshtein librosa lightgbm lightning llvmlite loguru lxml lz4 mako markdown markupsafe marshmallow
matplotlib mlflow mlxtend mock more_itertools mpl_toolkits mpmath msgpack multidict mypy mysql natsort nbformat
networkx nltk nose notebook nptyping numba numexpr numpy oauthlib omegaconf onnx onnxruntime openai openpyxl OpenSSL
optuna orjson ortools packaging pandas parameterized paramiko parso passlib patsy peewee peft pendulum pexpect
phonenumbers PIL pip pkg_resources plotly pluggy ply polars portion primefac primesieve prometheus_client prophet
psutil psycopg2 pulp pyarrow pycparser pydantic pydot pygame pyglet pygments pymongo pymysql pyparsing pypdf PyPDF2
pyperclip pyproj pyrsistent pyspark pytest pythonjsonlogger pytz pywt qiskit ratelimit ray rdflib redis regex requests
rich roman ruamel scapy scipy scrapy seaborn selenium sentence_transformers sentencepiece serial setuptools shap
shapely simplejson simpy six skimage sklearn slugify sortedcontainers soupsieve spacy sqlalchemy sqlmodel starlette
statsmodels streamlit stripe structlog surprise sympy tabulate tenacity tensorboard tensorflow termcolor textblob
theano threadpoolctl tiktoken tokenizers toml tomli toolz torch torchaudio torchvision tornado tqdm transformers
treelib trl twilio twisted typeguard typer typing_extensions tzlocal ujson umap unidecode uritemplate urllib3 uvicorn
validators vllm wandb websocket websockets werkzeug wheel word2number wordcloud wrapt xarray xgboost xlrd xlsxwriter
xlwt xmltodict yaml yarl zmq zstandard
"""
KNOWN_PACKAGES = frozenset(_NAMES.split())
