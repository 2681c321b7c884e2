# What a job needs, for `snakemake --sdm apptainer`; docs/container.md says how to build and use it. The packages are those of
# pyproject.toml at the versions of constraints.txt. The workflow's own code is not in it: jobs read it from the checkout.
FROM python:3.11-slim-bookworm
WORKDIR /opt/acdc-medsam
COPY pyproject.toml constraints.txt ./
# The PyTorch that pip finds for Linux brings CUDA with it, so the image is large, and runs on GPUs and CPUs.
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt
# Nothing in it is written to by a job, which runs as whoever started it.
ENV PYTHONDONTWRITEBYTECODE=1
USER nobody
