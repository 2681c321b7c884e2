# Both first stages make the same files; what the raw folder holds decides which of them is part of a run.
include: "adopt.smk" if RAW_KIND == H5 else "normalize.smk"


rule volumes:
    input:
        of_patients(H5_INDEX),


rule slices:
    input:
        rules.volumes.input,
