"""Steps of copying as functions take them: CopyBatch and VerifyCopy one each, PlanCopy both of a small round."""
