-- Version 3: the job of a scheduler that an agent is in, as "slurm:1234_7"; NULL: none.
ALTER TABLE agent ADD COLUMN job TEXT;
